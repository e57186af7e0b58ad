//! Fuzzes `websocket` of flare-decoders.

#![no_main]

flare_fuzz::target!("websocket");
