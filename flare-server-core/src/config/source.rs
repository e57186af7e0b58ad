//! One layer of a configuration: a file, a variable, an argument.

use std::{io, path::Path};

use figment::{
    Error, Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use super::{mistakes::Mistake, shape::Shape};

/// The origin of what nobody said.
pub(super) const DEFAULT: &str = "default";

/// Values and who said them.
pub(super) struct Layer {
    origin: String,
    values: Dict,
}

/// What a file or line of configuration came to, and what was wrong with it.
pub(super) type Read = (Option<Layer>, Vec<Mistake>);

impl Layer {
    /// The lowest: what the types say.
    pub(super) fn defaults(shape: &Shape) -> Self {
        let values = match shape {
            Shape::Section(section) => section.default.as_dict().cloned().unwrap_or_default(),
            _ => Dict::new(),
        };
        Self {
            origin: DEFAULT.to_owned(),
            values,
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.origin.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Profile::Default.collect(self.values.clone()))
    }
}

/// Reads a file that may be missing unless `required`.
pub(super) fn file(shape: &Shape, elsewhere: &[String], path: &Path, required: bool) -> Read {
    let origin = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => toml(shape, elsewhere, origin, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => (None, Vec::new()),
        Err(error) => (
            None,
            vec![whole(origin, format!("cannot be read: {error}"))],
        ),
    }
}

/// Reads TOML. The top-level tables named in `elsewhere` belong to others and are passed over.
pub(super) fn toml(shape: &Shape, elsewhere: &[String], origin: String, text: &str) -> Read {
    match toml::from_str::<Dict>(text) {
        Ok(mut values) => {
            values.retain(|key, _| !elsewhere.contains(key));
            fitting(shape, origin, values)
        }
        Err(error) => {
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start.min(text.len())].matches('\n').count()
            });
            (
                None,
                vec![whole(origin, format!("line {line}: {}", error.message()))],
            )
        }
    }
}

/// Reads one key and its value, both text.
pub(super) fn line(
    shape: &Shape,
    elsewhere: &[String],
    origin: String,
    path: &[String],
    text: &str,
) -> Read {
    let Some((last, folders)) = path
        .split_last()
        .filter(|_| path.iter().all(|it| !it.is_empty()))
    else {
        return (
            None,
            vec![whole(
                origin,
                format!(
                    "{:?} is no key: want names with one separator between them",
                    path.join(".")
                ),
            )],
        );
    };
    if path.first().is_some_and(|it| elsewhere.contains(it)) {
        return (None, Vec::new());
    }
    // An unknown key keeps its text, and is named when the layer is fitted.
    let value = shape
        .below(path)
        .map_or_else(|| text.into(), |it| it.read(text));
    let mut values = Dict::from([(last.clone(), value)]);
    for folder in folders.iter().rev() {
        values = Dict::from([(folder.clone(), values.into())]);
    }
    fitting(shape, origin, values)
}

/// Nothing came of a whole file, variable or argument.
pub(super) fn whole(origin: String, message: String) -> Mistake {
    Mistake {
        origin,
        key: String::new(),
        message,
    }
}

fn fitting(shape: &Shape, origin: String, values: Dict) -> Read {
    let mut mistakes = Vec::new();
    let mut wrong = |path: &[String], message: String| {
        mistakes.push(Mistake {
            origin: origin.clone(),
            key: path.join("."),
            message,
        });
    };
    let kept = shape.fit(Value::from(values), &mut Vec::new(), &mut wrong);
    let layer = kept
        .and_then(Value::into_dict)
        .map(|values| Layer { origin, values });
    (layer, mistakes)
}
