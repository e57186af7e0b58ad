//! What keeps a log in bounds: trimming, retention, room on the disk.

use super::{LogError, LogFile, RoomState};

impl LogFile {
    /// Removes the segments whose records all lie below `released`, which nobody asks for again; the segment in use stays.
    /// Records below `stored` are safe elsewhere too, which a [`Retention`](super::Retention) may wait for. Returns the floor.
    ///
    /// # Errors
    /// [`LogError::BeyondEnd`], [`LogError::Io`], [`LogError::Fatal`].
    pub fn trim(&mut self, released: u64, stored: u64) -> Result<u64, LogError> {
        let end = self.end();
        for offset in [released, stored] {
            if offset > end {
                return Err(LogError::BeyondEnd { offset, end });
            }
        }
        self.stored = self.stored.max(stored);
        while self
            .shared
            .with(|segments| segments.len() > 1 && segments[0].next <= released)
        {
            self.remove_oldest()?;
        }
        self.apply_retention()?;
        Ok(self.floor())
    }

    /// Removes what the retention no longer keeps, with a warning for each segment: with every trim, and when a segment is full. Not when
    /// the log is opened: what grew old while the process was away has yet to be read by those who were away with it.
    pub(super) fn apply_retention(&mut self) -> Result<(), LogError> {
        let (retention, stored) = (self.options.retention, self.stored);
        let now_ms = self.now_ms();
        loop {
            let due = self.shared.with(|segments| {
                let [oldest, second, ..] = segments else {
                    return None;
                };
                let bytes: u64 = segments.iter().map(|segment| segment.header.bytes).sum();
                let too_large = retention.max_bytes.is_some_and(|max| bytes > max);
                // Its newest record is older than the segment after it.
                let age_ms = u128::from(now_ms.saturating_sub(second.header.created_ms));
                let too_old = retention
                    .max_age
                    .is_some_and(|max| age_ms > max.as_millis());
                let due = oldest.next <= stored && (too_large || too_old);
                due.then(|| {
                    (
                        oldest.path.clone(),
                        oldest.header.first,
                        oldest.next,
                        too_old,
                    )
                })
            });
            let Some((path, first, next, too_old)) = due else {
                return Ok(());
            };
            tracing::warn!(
                file = %path.display(),
                from_offset = first,
                to_offset = next,
                reason = if too_old { "age" } else { "size" },
                "retention removes records that nobody released",
            );
            self.remove_oldest()?;
        }
    }

    /// One at a time and each synced, so that no crash can leave a gap.
    fn remove_oldest(&mut self) -> Result<(), LogError> {
        let oldest = self
            .shared
            .with(|segments| segments.first().map(|oldest| oldest.path.clone()));
        if let Some(path) = oldest {
            self.layer
                .remove(&path)
                .map_err(|error| LogError::io("remove", &path, error))?;
            let folder = self.shared.folder.clone();
            self.layer
                .sync_folder(&folder)
                .map_err(|error| self.poison("sync", &folder, error))?;
            self.shared.change(|segments| segments.remove(0));
        }
        Ok(())
    }

    /// Looks how much room the disk has: one system call. Appends do it every 16 MiB; a caller
    /// does it when time has passed, or to find out that there is room again.
    pub fn check_room(&mut self) -> RoomState {
        self.unchecked_bytes = 0;
        match self.layer.free_bytes(&self.shared.folder) {
            Ok(free) => {
                if self.shared.room.update(free) {
                    let folder = self.shared.folder.display();
                    match self.shared.room.state() {
                        RoomState::Enough => {
                            tracing::info!(%folder, free, "the log has room again")
                        }
                        RoomState::Low { .. } => {
                            tracing::warn!(%folder, free, "the log refuses appends for want of room")
                        }
                    }
                }
            }
            Err(error) => tracing::warn!(
                folder = %self.shared.folder.display(), %error, "cannot tell how much room the disk has"
            ),
        }
        self.shared.room.state()
    }
}
