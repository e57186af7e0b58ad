//! A stream to an owner.

use std::sync::Arc;

/// Where it leads, and how it stands.
#[derive(Debug)]
pub(super) struct Way {
    endpoint: Arc<str>,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Opening,
    Open,
    /// Nothing more is sent by it; answers are awaited.
    Retired,
}

impl Way {
    /// About to be opened.
    pub(super) fn to(endpoint: Arc<str>) -> Self {
        Self {
            endpoint,
            standing: Standing::Opening,
        }
    }

    pub(super) fn opened(&mut self) {
        if self.standing == Standing::Opening {
            self.standing = Standing::Open;
        }
    }

    pub(super) fn retire(&mut self) {
        self.standing = Standing::Retired;
    }

    pub(super) fn is_open(&self) -> bool {
        self.standing == Standing::Open
    }

    pub(super) fn is_retired(&self) -> bool {
        self.standing == Standing::Retired
    }

    pub(super) fn leads_to(&self, endpoint: &str) -> bool {
        *self.endpoint == *endpoint
    }
}
