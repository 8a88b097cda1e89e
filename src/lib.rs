//! Switchhook: the house.
