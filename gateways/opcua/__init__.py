"""OPC UA in: subscriptions of a site's plant servers, as readings with a quality."""
