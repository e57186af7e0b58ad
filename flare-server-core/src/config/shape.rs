//! What values a key takes, and whether a value fits.

use figment::value::{Dict, Value};
use serde::Serialize;

/// What values a key takes.
#[derive(Clone, Debug)]
pub enum Shape {
    /// `true` or `false`.
    Bool,
    /// A whole number, bounds included.
    Integer {
        /// The smallest that fits.
        min: i64,
        /// The largest that fits.
        max: i64,
    },
    /// A finite number.
    Number,
    /// Any text.
    Text,
    /// Text that is never shown.
    Secret,
    /// Text of a certain form.
    Parsed {
        /// The form, with its article.
        what: &'static str,
        /// Whether a text has it.
        fits: fn(&str) -> bool,
    },
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// Any number of them.
    List(Box<Shape>),
    /// Any number of them, under keys that the user chooses.
    Table(Box<Shape>),
    /// Certain keys.
    Section(SectionShape),
}

/// The keys of a section.
#[derive(Clone, Debug)]
pub struct SectionShape {
    pub(super) doc: String,
    pub(super) fields: Vec<Field>,
    pub(super) default: Value,
}

/// One key of a section.
#[derive(Clone, Debug)]
pub struct Field {
    pub(super) key: &'static str,
    pub(super) doc: String,
    pub(super) shape: Shape,
}

impl Field {
    /// Takes a field's identifier and the lines of its documentation comment.
    pub fn new(identifier: &'static str, doc: &[&str], shape: Shape) -> Self {
        Self {
            key: identifier.trim_start_matches("r#"),
            doc: join_lines(doc),
            shape,
        }
    }
}

/// The shape of the section `S`, from its documentation comment and its fields.
pub fn section_shape<S: Serialize + Default>(doc: &[&str], fields: Vec<Field>) -> Shape {
    // Settings are numbers, texts, lists and maps with text keys; a type that refuses to be written has no defaults to show.
    let default = Value::serialize(S::default()).unwrap_or_else(|_| Dict::new().into());
    Shape::Section(SectionShape {
        doc: join_lines(doc),
        fields,
        default,
    })
}

/// The shape of two sections whose keys stand side by side; the second's documentation counts. What is no section has no keys.
pub fn joined_shape(first: Shape, second: Shape) -> Shape {
    let (Shape::Section(mut first), Shape::Section(mut second)) = (first, second) else {
        return Shape::Section(SectionShape {
            doc: String::new(),
            fields: Vec::new(),
            default: Dict::new().into(),
        });
    };
    first.fields.append(&mut second.fields);
    if let (Value::Dict(_, all), Value::Dict(_, more)) = (&mut first.default, second.default) {
        all.extend(more);
    }
    first.doc = second.doc;
    Shape::Section(first)
}

fn join_lines(doc: &[&str]) -> String {
    doc.iter()
        .map(|line| line.trim())
        .collect::<Vec<_>>()
        .join(" ")
        .trim()
        .to_owned()
}

impl Shape {
    /// What would fit, with its article.
    pub(super) fn what(&self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer { min, max: i64::MAX } => format!("a whole number from {min}"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Number => "a number".to_owned(),
            Self::Text | Self::Secret => "text".to_owned(),
            Self::Parsed { what, .. } => (*what).to_owned(),
            Self::Choice(texts) => format!("one of {}", texts.join(", ")),
            Self::List(item) => format!("a list, each {}", item.what()),
            Self::Table(item) => format!("a table of names, each {}", item.what()),
            Self::Section(_) => "a table".to_owned(),
        }
    }

    /// Keeps what fits of `value` and tells `wrong` of the rest. `path` is where the value stands.
    pub(super) fn fit(
        &self,
        value: Value,
        path: &mut Vec<String>,
        wrong: &mut impl FnMut(&[String], String),
    ) -> Option<Value> {
        match (self, value) {
            (Self::Section(section), Value::Dict(tag, dict)) => {
                let mut kept = Dict::new();
                for (key, value) in dict {
                    path.push(key);
                    match section
                        .fields
                        .iter()
                        .find(|it| path.last().is_some_and(|key| it.key == key))
                    {
                        Some(field) => {
                            kept.extend(
                                field
                                    .shape
                                    .fit(value, path, wrong)
                                    .map(|value| (field.key.to_owned(), value)),
                            );
                        }
                        None => wrong(path, section.unknown_key()),
                    }
                    path.pop();
                }
                Some(Value::Dict(tag, kept))
            }
            (Self::Table(item), Value::Dict(tag, dict)) => {
                let mut kept = Dict::new();
                for (key, value) in dict {
                    path.push(key.clone());
                    kept.extend(item.fit(value, path, wrong).map(|value| (key, value)));
                    path.pop();
                }
                Some(Value::Dict(tag, kept))
            }
            (Self::List(item), Value::Array(tag, values)) => {
                let (wanted, mut kept) = (values.len(), Vec::new());
                for (index, value) in values.into_iter().enumerate() {
                    path.push(index.to_string());
                    kept.extend(item.fit(value, path, wrong));
                    path.pop();
                }
                (kept.len() == wanted).then_some(Value::Array(tag, kept))
            }
            (shape, value) => {
                if shape.takes(&value) {
                    return Some(value);
                }
                let given = if matches!(shape, Self::Secret) {
                    kind(&value).to_owned()
                } else {
                    show(&value)
                };
                wrong(path, format!("{given}: want {}", shape.what()));
                None
            }
        }
    }

    fn takes(&self, value: &Value) -> bool {
        match self {
            Self::Bool => matches!(value, Value::Bool(..)),
            Self::Integer { min, max } => {
                matches!(value, Value::Num(_, number) if is_whole(number))
                    && value
                        .to_i128()
                        .or_else(|| value.to_u128().and_then(|it| it.try_into().ok()))
                        .is_some_and(|it| it >= i128::from(*min) && it <= i128::from(*max))
            }
            Self::Number => match value {
                Value::Num(_, number) => {
                    is_whole(number) || number.to_f64().is_some_and(f64::is_finite)
                }
                _ => false,
            },
            Self::Text | Self::Secret => matches!(value, Value::String(..)),
            Self::Parsed { fits, .. } => value.as_str().is_some_and(fits),
            Self::Choice(texts) => value.as_str().is_some_and(|text| texts.contains(&text)),
            Self::List(_) | Self::Table(_) | Self::Section(_) => false,
        }
    }

    /// Reads the text of a variable or argument: as it is where text fits, else as a TOML value. A list may be written `a,b`.
    pub(super) fn read(&self, text: &str) -> Value {
        match self {
            Self::Text | Self::Secret | Self::Parsed { .. } | Self::Choice(_) => text.into(),
            Self::List(item) if !text.trim_start().starts_with('[') => {
                let items = text.split(',').map(str::trim).filter(|it| !it.is_empty());
                items.map(|text| item.read(text)).collect::<Vec<_>>().into()
            }
            _ => {
                let line = format!("value = {text}");
                toml::from_str::<Dict>(&line)
                    .ok()
                    .and_then(|mut it| it.remove("value"))
                    .unwrap_or_else(|| text.into())
            }
        }
    }

    /// The shape of the key at `path` below this one.
    pub(super) fn below(&self, path: &[String]) -> Option<&Self> {
        let Some((key, rest)) = path.split_first() else {
            return Some(self);
        };
        match self {
            Self::Section(section) => section
                .fields
                .iter()
                .find(|it| it.key == key)?
                .shape
                .below(rest),
            Self::Table(item) => item.below(rest),
            Self::List(item) if key.parse::<usize>().is_ok() => item.below(rest),
            _ => None,
        }
    }
}

impl SectionShape {
    fn unknown_key(&self) -> String {
        let known: Vec<_> = self.fields.iter().map(|it| it.key).collect();
        format!("unknown key: known here are {}", known.join(", "))
    }
}

fn is_whole(number: &figment::value::Num) -> bool {
    use figment::value::Num::{F32, F64};
    !matches!(number, F32(_) | F64(_))
}

/// A value for a message: itself, or of what kind it is.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::String(_, text) => format!("{text:?}"),
        Value::Bool(_, it) => it.to_string(),
        Value::Num(_, number) => match (value.to_i128(), value.to_u128(), number.to_f64()) {
            (Some(it), ..) => it.to_string(),
            (_, Some(it), _) => it.to_string(),
            (.., Some(it)) => it.to_string(),
            _ => kind(value).to_owned(),
        },
        _ => kind(value).to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "text",
        Value::Bool(..) => "true or false",
        Value::Num(..) => "a number",
        Value::Empty(..) => "nothing",
        Value::Dict(..) => "a table",
        Value::Array(..) => "a list",
    }
}
