//! A section's struct, defaults, documentation and rules, written in one place.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    document::{self, KeyDoc},
    setting::Setting,
    shape::Shape,
};

/// A struct of settings, made by [`section!`](crate::section).
///
/// `Setting::validate` of a section runs its own rules, then those of each field, with the field's name added to the keys: a section
/// that holds sections need not call them.
pub trait Section: Setting + Serialize + DeserializeOwned + Default {
    /// Every key of the section and of those inside it, with its default and its documentation.
    fn describe() -> Vec<KeyDoc> {
        document::describe(&Self::shape())
    }

    /// The section's documentation comment, in one line.
    fn introduction() -> String {
        match Self::shape() {
            Shape::Section(section) => section.doc,
            _ => String::new(),
        }
    }
}

/// Makes a configuration section: a struct whose fields have a documentation comment and a default each.
///
/// ```
/// flare_server_core::section! {
///     /// How long callers wait.
///     pub struct Patience {
///         /// A call is given up after this.
///         pub timeout_ms: u64 = 5_000,
///         /// How often it is tried again.
///         pub retries: u32 = 3,
///     }
///     validate(patience, at) {
///         at.require(patience.timeout_ms > 0, "timeout_ms", "must be above 0");
///     }
/// }
/// assert_eq!(Patience::default().retries, 3);
/// ```
///
/// A field's type is any [`Setting`](crate::config::Setting): numbers, text, `Option`, `Vec`, another section (its default is
/// `Inner::default()`, or one with other values), or a `BTreeMap<String, _>` whose keys the user chooses. The part `validate` may be left out.
/// The calling crate depends on `serde`.
#[macro_export]
macro_rules! section {
    (
        $(#[doc = $doc:literal])+
        $vis:vis struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field_vis:vis $field:ident : $type:ty = $default:expr
            ),* $(,)?
        }
        $(validate($config:ident, $at:ident) $rules:block)?
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        $vis struct $name {
            $( $(#[doc = $field_doc])+ $field_vis $field: $type, )*
        }

        impl ::core::default::Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::Setting for $name {
            fn shape() -> $crate::config::Shape {
                $crate::config::section_shape::<Self>(
                    &[$($doc),+],
                    ::std::vec![$(
                        $crate::config::Field::new(
                            ::core::stringify!($field),
                            &[$($field_doc),+],
                            <$type as $crate::config::Setting>::shape(),
                        ),
                    )*],
                )
            }

            fn validate(&self, at: &mut $crate::config::Mistakes) {
                $( { let ($config, $at) = (self, &mut *at); $rules } )?
                $(
                    at.within(::core::stringify!($field).trim_start_matches("r#"), |at| {
                        $crate::config::Setting::validate(&self.$field, at);
                    });
                )*
            }
        }

        impl $crate::config::Section for $name {}
    };
}

/// Makes an enum of named values that a key may take.
///
/// ```
/// flare_server_core::choice! {
///     /// How log lines look.
///     pub enum Look {
///         /// For people.
///         Text = "text",
///         /// For machines.
///         Json = "json",
///     }
/// }
/// ```
///
/// The calling crate depends on `serde`.
#[macro_export]
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $vis:vis enum $name:ident {
            $( $(#[doc = $variant_doc:literal])+ $variant:ident = $text:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        $vis enum $name {
            $( $(#[doc = $variant_doc])+ #[serde(rename = $text)] $variant, )*
        }

        impl $crate::config::Setting for $name {
            fn shape() -> $crate::config::Shape {
                $crate::config::Shape::Choice(&[$($text),*])
            }
        }
    };
}
