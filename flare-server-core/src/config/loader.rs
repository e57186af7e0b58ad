//! Gathers the layers, and checks them all before it believes one.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use figment::{Figment, value::Value};

use super::{
    mistakes::{ConfigMistakes, Mistake, Mistakes},
    print,
    section::Section,
    shape::{Shape, show},
    source::{self, DEFAULT, Layer, Read},
};

/// Variables whose names begin so are configuration.
const PREFIX: &str = "FLARE__";
const SEPARATOR: &str = "__";
/// Brokers, as other software names them too: host:port, divided by commas. It stands for `kafka.bootstrap_servers`, below the variables of [`PREFIX`].
const KAFKA: &str = "KAFKA_BOOTSTRAP_SERVERS";
/// Names a registry that there is no adapter for.
const CONSUL: &str = "CONSUL_ENDPOINTS";

/// Where a configuration comes from. See the [module](super) for the layers' order.
#[derive(Clone, Debug, Default)]
pub struct ConfigLoader {
    folder: Option<(PathBuf, bool)>,
    services: Vec<String>,
    environment: Option<String>,
    variables: Vec<(String, OsString)>,
    overrides: Vec<String>,
    argument: Option<(String, String)>,
    preset: Option<(String, String)>,
    elsewhere: Vec<String>,
}

/// A configuration without mistakes.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The configuration.
    pub config: T,
    figment: Figment,
    shape: Shape,
}

impl ConfigLoader {
    /// No layer but the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// The folder of the files, which must be there.
    #[must_use]
    pub fn folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some((path.into(), true));
        self
    }

    /// The folder of the files, if it is there.
    #[must_use]
    pub fn folder_if_present(mut self, path: impl Into<PathBuf>) -> Self {
        self.folder = Some((path.into(), false));
        self
    }

    /// The services that run here: each one's file in `services/` is read, in this order, if it is there.
    #[must_use]
    pub fn services(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.services = names.into_iter().map(Into::into).collect();
        self
    }

    /// The environment, whose file in `environments/` must be there.
    #[must_use]
    pub fn environment(mut self, name: impl Into<String>) -> Self {
        self.environment = Some(name.into());
        self
    }

    /// The environment variables of this process. See [`Self::variables`].
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the config loader is where the environment is read"
    )]
    pub fn process_variables(self) -> Self {
        self.variables(std::env::vars_os())
    }

    /// Environment variables: those whose names begin with `FLARE__`, and `KAFKA_BOOTSTRAP_SERVERS`; `CONSUL_ENDPOINTS` is refused, all others are passed over.
    #[must_use]
    pub fn variables(
        mut self,
        variables: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
    ) -> Self {
        let ours = variables.into_iter().filter_map(|(name, value)| {
            let name = name.into().into_string().ok()?;
            let is_ours = name.starts_with(PREFIX) || name == KAFKA || name == CONSUL;
            is_ours.then(|| (name, value.into()))
        });
        self.variables = ours.collect();
        // The order of an environment is its parent's whim.
        self.variables.sort();
        self
    }

    /// Arguments of the form `key.path=value`.
    #[must_use]
    pub fn overrides(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.overrides = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// The TOML that an argument of its own stands for (`--listen`), above everything. `name` is what mistakes and origins call it.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, toml: impl Into<String>) -> Self {
        self.argument = Some((name.into(), toml.into()));
        self
    }

    /// The TOML that a binary stands for, below every file and above the defaults. `name` is what origins call it.
    #[must_use]
    pub fn preset(mut self, name: impl Into<String>, toml: impl Into<String>) -> Self {
        self.preset = Some((name.into(), toml.into()));
        self
    }

    /// Top-level sections that belong to services which do not run here: their keys are not looked at.
    #[must_use]
    pub fn elsewhere(mut self, sections: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.elsewhere = sections.into_iter().map(Into::into).collect();
        self
    }

    /// Reads, merges and checks all layers. The error bears every mistake of every layer.
    pub fn load<T: Section>(&self) -> Result<Loaded<T>, ConfigMistakes> {
        self.load_checked(|_, _| Vec::new())
    }

    /// The same, with rules beside those of the sections: `more` is given the configuration and who said the value at a key. What it finds is passed over where another mistake may be the cause.
    pub fn load_checked<T: Section>(
        &self,
        more: impl FnOnce(&T, &dyn Fn(&str) -> String) -> Vec<Mistake>,
    ) -> Result<Loaded<T>, ConfigMistakes> {
        let shape = T::shape();
        let mut mistakes = Vec::new();
        let mut figment = Figment::from(Layer::defaults(&shape));
        default_secrets(&shape, &figment, &mut mistakes);
        for (layer, wrong) in self.layers(&shape) {
            mistakes.extend(wrong);
            if let Some(layer) = layer {
                figment = figment.merge(layer);
            }
        }
        match figment.extract::<T>() {
            Ok(config) => {
                broken_rules(&config, &shape, &figment, &mut mistakes);
                let found = more(&config, &|key| origin_at(&figment, key).unwrap_or_default());
                for mistake in found {
                    if !mistakes.iter().any(|it| it.touches(&mistake.key)) {
                        mistakes.push(mistake);
                    }
                }
                if mistakes.is_empty() {
                    return Ok(Loaded {
                        config,
                        figment,
                        shape,
                    });
                }
            }
            // What does not fit its shape was left out, so this names a type that refuses what its shape takes.
            Err(error) => mistakes.extend(error.into_iter().map(|error| {
                Mistake {
                    origin: error
                        .metadata
                        .as_ref()
                        .map_or_else(|| DEFAULT.to_owned(), |it| it.name.to_string()),
                    key: error.path.join("."),
                    message: error.kind.to_string(),
                }
            })),
        }
        Err(ConfigMistakes(mistakes))
    }

    fn layers(&self, shape: &Shape) -> Vec<Read> {
        let elsewhere = &self.elsewhere;
        let mut layers = Vec::new();
        if let Some((name, text)) = &self.preset {
            layers.push(source::toml(shape, elsewhere, name.clone(), text));
        }
        if let Some((folder, required)) = &self.folder {
            layers.extend(self.files(shape, folder, *required));
        }
        let variables = self.variables.iter();
        let (ours, others): (Vec<_>, Vec<_>) = variables.partition(|it| it.0.starts_with(PREFIX));
        for (name, value) in others.into_iter().chain(ours) {
            layers.push(match value.to_str() {
                Some(text) => variable(shape, elsewhere, name, text),
                None => (
                    None,
                    vec![source::whole(name.clone(), "not UTF-8".to_owned())],
                ),
            });
        }
        for argument in &self.overrides {
            layers.push(match argument.split_once('=') {
                Some((key, text)) => {
                    let path: Vec<_> = key.split('.').map(|it| it.trim().to_owned()).collect();
                    source::line(
                        shape,
                        elsewhere,
                        format!("argument {}", key.trim()),
                        &path,
                        text.trim(),
                    )
                }
                None => {
                    let message = "no value: want key.path=value".to_owned();
                    (
                        None,
                        vec![source::whole(format!("argument {argument}"), message)],
                    )
                }
            });
        }
        if let Some((name, text)) = &self.argument {
            layers.push(source::toml(shape, elsewhere, name.clone(), text));
        }
        layers
    }

    fn files(&self, shape: &Shape, folder: &Path, required: bool) -> Vec<Read> {
        if required && !folder.is_dir() {
            return vec![(
                None,
                vec![source::whole(
                    folder.display().to_string(),
                    "no such folder".to_owned(),
                )],
            )];
        }
        let mut read = vec![source::file(
            shape,
            &self.elsewhere,
            &folder.join("base.toml"),
            false,
        )];
        for service in &self.services {
            let path = folder.join("services").join(format!("{service}.toml"));
            read.push(source::file(shape, &self.elsewhere, &path, false));
        }
        if let Some(environment) = &self.environment {
            let path = folder
                .join("environments")
                .join(format!("{environment}.toml"));
            read.push(source::file(shape, &self.elsewhere, &path, true));
        }
        read
    }
}

fn variable(shape: &Shape, elsewhere: &[String], name: &str, text: &str) -> Read {
    match name {
        KAFKA => {
            let path = ["kafka", "bootstrap_servers"].map(str::to_owned);
            let servers: Vec<_> = text
                .split(',')
                .map(|it| format!("{:?}", it.trim()))
                .collect();
            let list = format!("[{}]", servers.join(", "));
            source::line(shape, elsewhere, name.to_owned(), &path, &list)
        }
        CONSUL => {
            let message = "processes do not find each other by Consul: unset it, and set registry.kind to static, dns or etcd";
            let mistake = Mistake {
                origin: name.to_owned(),
                key: "registry.kind".to_owned(),
                message: message.to_owned(),
            };
            (None, vec![mistake])
        }
        _ => {
            let path = name[PREFIX.len()..].split(SEPARATOR);
            let path: Vec<_> = path.map(str::to_lowercase).collect();
            source::line(shape, elsewhere, name.to_owned(), &path, text)
        }
    }
}

impl<T> Loaded<T> {
    /// The configuration as TOML, each value with its origin; secrets are masked.
    pub fn print(&self) -> String {
        self.figment.find_value("").map_or_else(
            |_| String::new(),
            |values| print::print(&self.shape, &values, &|value| origin(&self.figment, value)),
        )
    }

    /// Who said the value at `key`, with dots: a file, a variable, an argument or `default`. None: there is no such key.
    pub fn origin(&self, key: &str) -> Option<String> {
        origin_at(&self.figment, key)
    }
}

fn origin_at(figment: &Figment, key: &str) -> Option<String> {
    let value = figment.find_value(key).ok()?;
    Some(origin(figment, &value))
}

fn origin(figment: &Figment, value: &Value) -> String {
    figment
        .get_metadata(value.tag())
        .map_or(DEFAULT, |it| it.name.as_ref())
        .to_owned()
}

fn value_at(figment: &Figment, path: &[String]) -> Option<Value> {
    let root = figment.find_value("").ok()?;
    path.iter().try_fold(root, |value, key| match value {
        Value::Dict(_, mut dict) => dict.remove(key),
        Value::Array(_, mut items) => key
            .parse()
            .ok()
            .filter(|it| *it < items.len())
            .map(|it: usize| items.swap_remove(it)),
        _ => None,
    })
}

/// What the sections' own rules find, except at keys whose value was left out for a mistake named already.
fn broken_rules<T: Section>(
    config: &T,
    shape: &Shape,
    figment: &Figment,
    mistakes: &mut Vec<Mistake>,
) {
    let mut rules = Mistakes::default();
    config.validate(&mut rules);
    for (path, message) in rules.into_found() {
        let key = path.join(".");
        if mistakes.iter().any(|it| it.key == key) {
            continue;
        }
        let value = value_at(figment, &path);
        let shown = match shape.below(&path) {
            Some(Shape::Secret) | None => None,
            Some(_) => value
                .as_ref()
                .filter(|it| !matches!(it, Value::Dict(..) | Value::Array(..) | Value::Empty(..)))
                .map(show),
        };
        mistakes.push(Mistake {
            origin: value.map_or_else(|| DEFAULT.to_owned(), |it| origin(figment, &it)),
            message: shown.map_or(message.clone(), |shown| format!("{shown}: {message}")),
            key,
        });
    }
}

/// A secret in the source code is none.
fn default_secrets(shape: &Shape, defaults: &Figment, mistakes: &mut Vec<Mistake>) {
    let mut open = vec![(Vec::new(), shape)];
    while let Some((path, shape)) = open.pop() {
        match shape {
            Shape::Section(section) => open.extend(section.fields.iter().map(|field| {
                let path: Vec<_> = path.iter().cloned().chain([field.key.to_owned()]).collect();
                (path, &field.shape)
            })),
            Shape::Secret
                if value_at(defaults, &path)
                    .is_some_and(|it| it.as_str().is_some_and(|it| !it.is_empty())) =>
            {
                let message = "a secret has no default".to_owned();
                mistakes.push(Mistake {
                    origin: DEFAULT.to_owned(),
                    key: path.join("."),
                    message,
                });
            }
            _ => {}
        }
    }
}
