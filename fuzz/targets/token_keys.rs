//! Fuzzes `token_keys` of flare-decoders.

#![no_main]

flare_fuzz::target!("token_keys");
