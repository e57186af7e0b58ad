//! How large an answer may get.

/// Bytes that an answer, or a part of it, may still take.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// What is answered, as the metric names it.
    kind: &'static str,
    bytes: usize,
    /// The first thing fits, however large it is: who asks could never get past it otherwise.
    one_always: bool,
}

impl Room {
    /// Of a whole answer: the first thing in it always fits.
    pub fn of_answer(kind: &'static str, bytes: usize) -> Self {
        Self {
            kind,
            bytes,
            one_always: true,
        }
    }

    /// Of a part that may stay empty.
    pub fn of_part(kind: &'static str, bytes: usize) -> Self {
        Self {
            one_always: false,
            ..Self::of_answer(kind, bytes)
        }
    }

    /// How much is left.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what something needs. False: it does not fit.
    pub fn take(&mut self, bytes: usize) -> bool {
        match self.bytes.checked_sub(bytes) {
            Some(left) => self.bytes = left,
            None if self.one_always => self.bytes = 0,
            None => return false,
        }
        self.one_always = false;
        true
    }

    /// Counts that the answer has less than was asked for and is there.
    pub fn count_cut(&self) {
        metrics::counter!("flare_storage_reader_answers_cut_total", "kind" => self.kind)
            .increment(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_thing_of_an_answer_always_fits() {
        let mut answer = Room::of_answer("history", 10);
        assert!(answer.take(11));
        assert!(!answer.take(1));
        let mut answer = Room::of_answer("history", 10);
        assert!(answer.take(4) && answer.take(6) && !answer.take(1));
        let mut part = Room::of_part("history", 10);
        assert!(!part.take(11));
        assert!(part.take(10));
        assert_eq!(part.bytes(), 0);
    }
}
