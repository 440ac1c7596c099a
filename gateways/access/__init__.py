"""Who is at an edge: users of a site, by password, certificate, key or the word of a proxy."""
