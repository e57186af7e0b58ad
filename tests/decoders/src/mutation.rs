//! Bytes that are nearly good: an example changed as a disk, a network or an enemy would.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// So many places of an example are tried one by one; longer ones at random places.
const PLACES: usize = 48;

/// What a length may be set to: the largest of each width, in either order of bytes, and as a varint.
const LENGTHS: [&[u8]; 8] = [
    &[0xff],
    &[0x7f],
    &[0xff, 0xff],
    &[0xff; 4],
    &[0x7f, 0xff, 0xff, 0xff],
    &[0xff; 8],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
];

/// Texts that parsers stumble over.
const STUMBLES: [&[u8]; 10] = [
    b"\0",
    b"\xff",
    b"\xed\xa0\x80",
    "\u{202e}".as_bytes(),
    b"1e999",
    b"-0",
    b"\\ud800",
    b"{{{{{{{{[[[[[[[[",
    b"\r\n\r\n",
    b"../../../../",
];

/// Every example, and what comes of it; the same for the same seed. `random` of them bear several changes at once.
pub fn mutations(
    corpus: &[Vec<u8>],
    seed: u64,
    random: usize,
) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut rng = StdRng::seed_from_u64(seed);
    let places = StdRng::seed_from_u64(seed);
    let plain = corpus.iter().cloned();
    let one_by_one = corpus
        .iter()
        .scan(places, |rng, it| Some(single_changes(it, rng)))
        .flatten();
    let mixed = (0..random).filter_map(move |_| several_changes(corpus, &mut rng));
    plain.chain(one_by_one).chain(mixed)
}

/// Cut, doubled, emptied, a bit flipped, a byte dropped, a length set huge: each at each place.
fn single_changes(example: &[u8], rng: &mut StdRng) -> Vec<Vec<u8>> {
    let mut changed = vec![Vec::new(), example.repeat(2)];
    let places: Vec<usize> = if example.len() <= PLACES {
        (0..example.len()).collect()
    } else {
        (0..PLACES)
            .map(|_| rng.random_range(0..example.len()))
            .collect()
    };
    for at in places {
        let (before, after) = example.split_at(at);
        let rest = after.get(1..).unwrap_or_default();
        changed.push(before.to_vec());
        changed.push([before, rest].concat());
        for bit in [0, 3, 7] {
            let mut flipped = example.to_vec();
            if let Some(byte) = flipped.get_mut(at) {
                *byte ^= 1 << bit;
            }
            changed.push(flipped);
        }
        let length = LENGTHS[at % LENGTHS.len()];
        changed.push([before, length, rest].concat());
        let over = after.get(length.len()..).unwrap_or_default();
        changed.push([before, length, over].concat());
    }
    changed
}

fn several_changes(corpus: &[Vec<u8>], rng: &mut StdRng) -> Option<Vec<u8>> {
    let pick = |rng: &mut StdRng| corpus.get(rng.random_range(0..corpus.len().max(1)));
    let mut bytes = pick(rng)?.clone();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        let to = rng.random_range(at..=bytes.len().min(at + 64));
        match rng.random_range(0..7) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let piece = bytes[at..to].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                // The end of another example behind the beginning of this one.
                let other = pick(rng)?;
                let from = rng.random_range(0..=other.len());
                bytes.splice(at.., other[from..].iter().copied());
            }
            4 => {
                let length = LENGTHS[rng.random_range(0..LENGTHS.len())];
                bytes.splice(at..to.min(at + length.len()), length.iter().copied());
            }
            5 => {
                let text = STUMBLES[rng.random_range(0..STUMBLES.len())];
                bytes.splice(at..at, text.iter().copied());
            }
            _ => {
                for byte in &mut bytes[at..to] {
                    *byte = rng.random();
                }
            }
        }
    }
    Some(bytes)
}
