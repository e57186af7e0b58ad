//! The configuration of a process: what all have, and what its services have.

use serde::{Deserialize, Serialize};

use super::base::BaseConfig;
use crate::config::{Mistakes, Section, Setting, Shape, joined_shape};

/// The sections of every process beside those of its services: `S` has one field for each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Configured<S> {
    /// What every process has.
    #[serde(flatten)]
    pub base: BaseConfig,
    /// What its services have.
    #[serde(flatten)]
    pub services: S,
}

impl<S: Section> Setting for Configured<S> {
    fn shape() -> Shape {
        joined_shape(BaseConfig::shape(), S::shape())
    }

    fn validate(&self, at: &mut Mistakes) {
        self.base.validate(at);
        self.services.validate(at);
    }
}

impl<S: Section> Section for Configured<S> {}
