"""`headrace up`: the whole system on one machine, supervised and watched."""
