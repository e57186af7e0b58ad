//! Fuzzes `inbox_tokens` of flare-decoders.

#![no_main]

flare_fuzz::target!("inbox_tokens");
