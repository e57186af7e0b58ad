//! Fuzzes `history_page_tokens` of flare-decoders.

#![no_main]

flare_fuzz::target!("history_page_tokens");
