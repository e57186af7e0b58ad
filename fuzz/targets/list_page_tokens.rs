//! Fuzzes `list_page_tokens` of flare-decoders.

#![no_main]

flare_fuzz::target!("list_page_tokens");
