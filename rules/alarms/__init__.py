"""The life of an alarm, as ISA-18.2 and IEC 62682 have it."""
