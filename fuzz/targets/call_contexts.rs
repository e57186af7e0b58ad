//! Fuzzes `call_contexts` of flare-decoders.

#![no_main]

flare_fuzz::target!("call_contexts");
