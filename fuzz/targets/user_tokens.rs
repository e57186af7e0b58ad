//! Fuzzes `user_tokens` of flare-decoders.

#![no_main]

flare_fuzz::target!("user_tokens");
