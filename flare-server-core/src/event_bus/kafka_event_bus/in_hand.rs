//! What a handler is given.

use std::sync::Arc;

use super::positions::Place;
use crate::event_bus::BusRecord;

/// Records that a handler has, or that come again to it.
pub(super) struct InHand {
    records: Arc<[BusRecord]>,
    /// Where each came from.
    places: Vec<Place>,
}

impl InHand {
    /// None if there is nothing to handle.
    pub(super) fn new(batch: impl IntoIterator<Item = (BusRecord, Place)>) -> Option<Self> {
        let (records, places): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        (!places.is_empty()).then(|| Self {
            records: records.into(),
            places,
        })
    }

    pub(super) fn records(&self) -> &Arc<[BusRecord]> {
        &self.records
    }

    /// Where the first `count` records came from.
    pub(super) fn places(&self, count: usize) -> &[Place] {
        &self.places[..count.min(self.places.len())]
    }

    pub(super) fn touches(&self, lanes: &[i32]) -> bool {
        self.places.iter().any(|place| lanes.contains(&place.lane))
    }

    /// All but the first `count` records.
    pub(super) fn after(&self, count: usize) -> Option<Self> {
        let places = self.places.get(count..)?;
        let records = &self.records[count..];
        Self::new(records.iter().cloned().zip(places.iter().copied()))
    }

    /// What came from places that are good.
    pub(super) fn only(self, good: impl Fn(&Place) -> bool) -> Option<Self> {
        if self.places.iter().all(&good) {
            return Some(self);
        }
        let each = self.records.iter().cloned().zip(self.places);
        Self::new(each.filter(|(_, place)| good(place)))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::positions::Positions;
    use super::*;

    fn batch(lanes: &[i32]) -> InHand {
        let mut positions = Positions::default();
        positions.assign(0, None);
        positions.assign(1, None);
        let record = |(index, lane): (usize, &i32)| {
            let record = BusRecord {
                key: Bytes::new(),
                payload: Bytes::from(vec![index as u8]),
                position: 0,
            };
            (
                record,
                positions.read(*lane, index as u64).expect("its lane").0,
            )
        };
        let records: Vec<_> = lanes.iter().enumerate().map(record).collect();
        InHand::new(records).expect("some")
    }

    fn payloads(batch: Option<InHand>) -> Vec<u8> {
        let records = batch.map(|it| it.records().to_vec()).unwrap_or_default();
        records.iter().map(|record| record.payload[0]).collect()
    }

    #[test]
    fn the_rest_keeps_its_order_and_its_places() {
        let batch = batch(&[0, 1, 0, 1]);
        assert!(batch.touches(&[1]) && !batch.touches(&[2]));
        assert_eq!(payloads(batch.after(2)), [2, 3]);
        assert!(batch.after(4).is_none() && batch.after(9).is_none());
        let places = batch.places.clone();
        let rest = batch.only(|place| place.lane != 0).expect("some");
        assert_eq!(rest.places(9), [places[1], places[3]]);
        assert_eq!(payloads(rest.only(|_| true)), [1, 3]);
    }
}
