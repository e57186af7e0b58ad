//! Fuzzes `bus_cursors` of flare-decoders.

#![no_main]

flare_fuzz::target!("bus_cursors");
