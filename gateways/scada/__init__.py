"""The OPC UA server for SCADA: the plant as a browsable model, alarms as conditions, and what operators do about them.

asyncua is the protocol stack and the standard's own address space. Events, subscriptions, conditions, the site's nodes
and history are ours, and so is who may open a channel, a session, and act (decision 0090).
"""
