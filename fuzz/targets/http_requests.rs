//! Fuzzes `http_requests` of flare-decoders.

#![no_main]

flare_fuzz::target!("http_requests");
