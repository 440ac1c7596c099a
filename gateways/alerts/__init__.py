"""Alert subscriptions: who wants to hear which alarms, over which channel, and that they do."""
