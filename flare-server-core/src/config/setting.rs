//! The types that a configuration key may have.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use super::{mistakes::Mistakes, secret::Secret, shape::Shape};

/// A type that a configuration key may have.
pub trait Setting {
    /// What values it takes. Whatever fits deserialises: it is how all mistakes are found and not only the first.
    fn shape() -> Shape;

    /// The rules that its shape cannot say. Keys given to `at` are relative to this setting.
    fn validate(&self, at: &mut Mistakes) {
        let _ = at;
    }
}

impl Setting for bool {
    fn shape() -> Shape {
        Shape::Bool
    }
}

impl Setting for f64 {
    fn shape() -> Shape {
        Shape::Number
    }
}

impl Setting for String {
    fn shape() -> Shape {
        Shape::Text
    }
}

impl Setting for PathBuf {
    fn shape() -> Shape {
        Shape::Text
    }
}

impl Setting for Secret {
    fn shape() -> Shape {
        Shape::Secret
    }
}

macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn shape() -> Shape {
                // TOML's integers have 64 bits and a sign.
                Shape::Integer { min: i64::try_from(<$type>::MIN).unwrap_or(i64::MIN), max: i64::try_from(<$type>::MAX).unwrap_or(i64::MAX) }
            }
        }
    )*};
}

whole_numbers!(u8, u16, u32, u64, usize, i32, i64);

macro_rules! parsed {
    ($($type:ty: $what:literal),*) => {$(
        impl Setting for $type {
            fn shape() -> Shape {
                Shape::Parsed { what: $what, fits: |text| <$type>::from_str(text).is_ok() }
            }
        }
    )*};
}

parsed!(SocketAddr: "an address and port, such as 127.0.0.1:8080", IpAddr: "an IP address");

impl<T: Setting> Setting for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn validate(&self, at: &mut Mistakes) {
        if let Some(value) = self {
            value.validate(at);
        }
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn validate(&self, at: &mut Mistakes) {
        for (index, value) in self.iter().enumerate() {
            at.within(&index.to_string(), |at| value.validate(at));
        }
    }
}

/// A table whose keys the user chooses.
impl<T: Setting> Setting for BTreeMap<String, T> {
    fn shape() -> Shape {
        Shape::Table(Box::new(T::shape()))
    }

    fn validate(&self, at: &mut Mistakes) {
        for (key, value) in self {
            at.within(key, |at| value.validate(at));
        }
    }
}
