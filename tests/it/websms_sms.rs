//! `switchhook sms`: the real binary and bridge, carriers that lie, and webhooks as carriers make them.

mod commands;
mod erasing;
mod media;
mod receipts;
mod webhook;
