//! The page, from the records.

use std::fmt::Write;

use anyhow::Context;
use serde_json::{Map, Value};

use super::{chart, record::Record, section::Section, steps::Step};

/// Longer lists are for pictures.
const MOST_ROWS: usize = 100;
/// A list whose entries have more figures than this stands on its side: a figure in each line.
const MOST_COLUMNS: usize = 8;
/// What stands first in a list.
const HEADS: &[&str] = &["owners", "times", "fault", "scenario"];
/// What the figures of a step mean, where their names do not say it.
const LEGENDS: &[(&str, &str)] = &[(
    "cluster",
    "Each fault befell people who write every 100 ms; the figures are of the time from its begin until all went well again. `silence ms`: the longest time in which a writer had no \
     acknowledgement; `acked`, `resent`, `refused`: commands acknowledged, sent again, and refused before they were; `bit`: what showed that the fault was there.",
)];
const MIB: f64 = 1_048_576.0;

const HEAD: &str = "\
# Reliability

<!-- Made by `cargo xtask evidence`; do not edit. -->

Each attack on the [promises](architecture.md) below was made by `cargo xtask evidence`, from the commit and on the machine that stand with it. A run in which a fault did not bite counts as failed.
";

/// The page and its pictures.
pub(super) struct Page {
    pub(super) text: String,
    /// Names and SVG.
    pub(super) pictures: Vec<(String, String)>,
    pub(super) verdict: String,
    pub(super) is_good: bool,
}

/// Makes it of these records. What has none stays as it stands in the page so far.
pub(super) fn render(so_far: &str, records: &[(&Step, Option<Record>)]) -> anyhow::Result<Page> {
    let mut sections = Vec::new();
    let mut pictures = Vec::new();
    for (step, record) in records {
        let section = if let Some(record) = record {
            let (body, drawn) = body(step, record)?;
            pictures.extend(drawn);
            Some(Section::of(record, &body))
        } else {
            Section::standing(so_far, step.title)
        };
        sections.push((*step, section));
    }
    let (verdict, is_good) = verdict(&sections);
    let mut text = HEAD.to_owned();
    writeln!(text, "\n**{verdict}**\n")?;
    writeln!(
        text,
        "| attack | asks | commit | result |\n|---|---|---|---|"
    )?;
    for (step, section) in &sections {
        let (commit, result) = match section {
            None => (String::new(), "not made"),
            Some(it) if it.has_failed() => (format!("`{}`", it.commit()), "failed"),
            Some(it) => (format!("`{}`", it.commit()), "kept"),
        };
        let Step {
            title, question, ..
        } = step;
        writeln!(text, "| {title} | {question} | {commit} | {result} |")?;
    }
    for (step, section) in &sections {
        if let Some(section) = section {
            write!(text, "\n## {}\n\n{}\n", step.title, section.text())?;
        }
    }
    Ok(Page {
        text,
        pictures,
        verdict,
        is_good,
    })
}

/// What a section says after its head, and the pictures in it.
fn body(step: &Step, record: &Record) -> anyhow::Result<(String, Vec<(String, String)>)> {
    let (mut text, mut pictures) = (String::new(), Vec::new());
    for (_, legend) in LEGENDS.iter().filter(|(it, _)| *it == step.name) {
        writeln!(text, "{legend}\n")?;
    }
    for (name, title, picture) in drawn(step.name, &record.data)? {
        writeln!(text, "![{title}](images/{name})\n")?;
        pictures.push((name, picture));
    }
    text.push_str(&tables(&record.data));
    Ok((text, pictures))
}

fn verdict(sections: &[(&Step, Option<Section>)]) -> (String, bool) {
    let names = |which: &dyn Fn(Option<&Section>) -> bool| -> Vec<&str> {
        let those = sections.iter().filter(|(_, it)| which(it.as_ref()));
        those.map(|(step, _)| step.name).collect()
    };
    let failed = names(&|it| it.is_some_and(Section::has_failed));
    let missing = names(&|it| it.is_none());
    if !failed.is_empty() {
        (format!("Not kept: {}.", failed.join(", ")), false)
    } else if missing.is_empty() {
        ("Every promise was kept in every attack.".to_owned(), true)
    } else {
        let missing = missing.join(", ");
        (
            format!("Every promise was kept in what was made; not made: {missing}."),
            true,
        )
    }
}

/// A list of figures to draw.
struct Picture {
    step: &'static str,
    file: &'static str,
    title: &'static str,
    list: &'static str,
    /// Field and name of an axis.
    across: (&'static str, &'static str),
    up: (&'static str, &'static str),
    /// So much of the field is one on the axis.
    unit: f64,
}

const OF_OVERLOAD: Picture = Picture {
    step: "overload",
    file: "overload-left.svg",
    title: "Left of the peak under overload",
    list: "left",
    across: ("times", "times the connections of the peak"),
    up: ("ratio", "share of the acks a second"),
    unit: 1.0,
};

const OF_SOAK: Picture = Picture {
    step: "soak",
    file: "soak-memory.svg",
    title: "Resident memory",
    list: "looks",
    across: ("after_s", "seconds"),
    up: ("memory_bytes", "MiB"),
    unit: MIB,
};

const PICTURES: &[Picture] = &[
    OF_OVERLOAD,
    Picture {
        file: "overload-memory.svg",
        title: "Resident memory under overload",
        up: ("server_bytes_max", "MiB"),
        unit: MIB,
        ..OF_OVERLOAD
    },
    OF_SOAK,
    Picture {
        file: "soak-handles.svg",
        title: "File handles",
        up: ("handles", "open"),
        unit: 1.0,
        ..OF_SOAK
    },
    Picture {
        file: "soak-tasks.svg",
        title: "Tasks",
        up: ("tasks", "alive"),
        unit: 1.0,
        ..OF_SOAK
    },
];

/// The pictures of a step: name, title and SVG.
fn drawn(step: &str, data: &Value) -> anyhow::Result<Vec<(String, &'static str, String)>> {
    let points = |list: &str, across: &str, up: &str, unit: f64| -> Vec<(f64, f64)> {
        let list = data.get(list).and_then(Value::as_array);
        let number = |it: &Value, name: &str| it.get(name).and_then(Value::as_f64);
        list.into_iter()
            .flatten()
            .filter_map(|it| Some((number(it, across)?, number(it, up)? / unit)))
            .collect()
    };
    let mut pictures = Vec::new();
    for it in PICTURES.iter().filter(|it| it.step == step) {
        let points = points(it.list, it.across.0, it.up.0, it.unit);
        let axes = (it.across.1, it.up.1);
        let picture = chart::line(it.title, axes, &points).context(it.title)?;
        pictures.push((it.file.to_owned(), it.title, picture));
    }
    Ok(pictures)
}

/// Figures as tables: what stands alone, then each list.
fn tables(data: &Value) -> String {
    let mut text = String::new();
    match data {
        Value::Array(list) => text.push_str(&list_table(list)),
        Value::Object(object) => {
            let mut alone = Vec::new();
            flatten("", object, &mut alone);
            if !alone.is_empty() {
                text.push_str("| figure | value |\n|---|---|\n");
                for (name, value) in alone {
                    let _ = writeln!(text, "| {name} | {value} |");
                }
            }
            for (name, value) in object {
                if let Value::Array(list) = value
                    && list.len() <= MOST_ROWS
                {
                    let _ = writeln!(text, "\n{}:\n", spoken(name));
                    text.push_str(&list_table(list));
                }
            }
        }
        _ => {}
    }
    text
}

fn list_table(list: &[Value]) -> String {
    let rows: Vec<Vec<(String, String)>> = list
        .iter()
        .filter_map(Value::as_object)
        .map(|it| {
            let mut row = Vec::new();
            flatten("", it, &mut row);
            row
        })
        .collect();
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flatten() {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    // What differs by plan comes first: it heads the rows, or the columns of a list on its side.
    columns.sort_by_key(|it| !HEADS.contains(it));
    let Some((head, figures)) = columns.split_first() else {
        return String::new();
    };
    let cell = |row: &[(String, String)], column: &str| {
        let cell = row.iter().find(|(name, _)| name == column);
        cell.map_or_else(String::new, |(_, value)| value.clone())
    };
    if columns.len() <= MOST_COLUMNS {
        let lines = rows
            .iter()
            .map(|row| columns.iter().map(|it| cell(row, it)).collect());
        let head: Vec<_> = columns.iter().map(|it| (*it).to_owned()).collect();
        return table(&head, lines);
    }
    let line = |name: &str| -> Vec<String> {
        let cells = rows.iter().map(|row| cell(row, name));
        std::iter::once(name.to_owned()).chain(cells).collect()
    };
    table(&line(head), figures.iter().map(|it| line(it)))
}

fn table(head: &[String], lines: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
    text
}

/// What stands alone in an object and in the objects within it.
fn flatten(within: &str, object: &Map<String, Value>, into: &mut Vec<(String, String)>) {
    for (name, value) in object {
        let name = format!("{within}{}", spoken(name));
        match value {
            Value::Object(inner) => flatten(&format!("{name}: "), inner, into),
            Value::Array(_) | Value::Null => {}
            // What follows the first line of a verdict stands among the figures.
            Value::String(text) => {
                into.push((name, text.lines().next().unwrap_or_default().to_owned()));
            }
            Value::Number(number) => {
                let number = number.as_f64().unwrap_or_default();
                if name.contains("bytes") && number >= MIB {
                    let name = name.replace("bytes", "MiB");
                    into.push((name, figure(number / MIB)));
                } else {
                    into.push((name, figure(number)));
                }
            }
            Value::Bool(it) => into.push((name, if *it { "yes" } else { "no" }.to_owned())),
        }
    }
}

fn spoken(name: &str) -> String {
    name.replace('_', " ")
}

/// Whole numbers and large ones without places, others to as many as say something.
fn figure(number: f64) -> String {
    match number.abs() {
        it if it.fract() == 0.0 || it >= 100.0 => format!("{number:.0}"),
        it if it >= 10.0 => format!("{number:.1}"),
        it if it >= 1.0 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{
        super::{machine::Machine, steps::STEPS},
        *,
    };

    #[test]
    fn figures_become_tables() {
        let text = tables(&json!({
            "seconds": 2, "counts": {"acks": 3}, "steps": [
                {"pairs": 1, "times": 1}, {"pairs": 5, "share": 0.25, "said": "a\nb\n", "bytes": 3_145_728, "ratio": 1.25, "times": 5}
            ]
        }));
        assert_eq!(
            text,
            "| figure | value |\n|---|---|\n| counts: acks | 3 |\n| seconds | 2 |\n\nsteps:\n\n\
             | times | pairs | MiB | ratio | said | share |\n|---|---|---|---|---|---|\n| 1 | 1 |  |  |  |  |\n| 5 | 5 | 3 | 1.25 | a | 0.250 |\n"
        );
    }

    #[test]
    fn a_long_list_of_figures_stands_on_its_side() {
        let entry = |owners: u64| json!({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5, "f": 6, "g": 7, "h": 8, "owners": owners});
        let text = tables(&json!([entry(1), entry(2)]));
        assert!(
            text.starts_with("| owners | 1 | 2 |\n|---|---|---|\n| a | 1 | 1 |\n| b | 2 | 2 |\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_not_made_again_stays_as_it_stands() {
        let machine = |commit: &str| Machine {
            commit: commit.to_owned(),
            changed: false,
            processor: "P".to_owned(),
            cores: 2,
            memory_gib: 24,
            kernel: "Linux".to_owned(),
        };
        let made = |commit: &str, step: &Step, outcome: anyhow::Result<Value>| {
            Some(Record::new(step.name, &machine(commit), 7, outcome))
        };
        let [one, other, third] = [&STEPS[0], &STEPS[1], &STEPS[2]];
        let failed = made("c1", other, Err(anyhow::anyhow!("a seed breaks it")));
        let before = [
            (one, made("c1", one, Ok(json!({"acks": 3})))),
            (other, failed),
            (third, None),
        ];
        let before = render("", &before).unwrap();
        assert!(!before.is_good && before.verdict.contains(other.name));

        let after = [
            (one, None),
            (other, made("c2", other, Ok(json!({"crashes": 0})))),
            (third, None),
        ];
        let after = render(&before.text, &after).unwrap();
        assert!(after.is_good && after.verdict.contains(third.name));
        for said in [
            format!("| {} | {} | `c1` | kept |", one.title, one.question),
            format!("| {} | {} | `c2` | kept |", other.title, other.question),
            format!("| {} | {} |  | not made |", third.title, third.question),
            "Commit `c1`; P, 2 cores, 24 GiB; Linux; 7 s.".to_owned(),
            "| acks | 3 |".to_owned(),
            "| crashes | 0 |".to_owned(),
        ] {
            assert!(after.text.contains(&said), "{said}: {}", after.text);
        }
        assert!(!after.text.contains("a seed breaks it"), "{}", after.text);
        // Nothing new changes nothing.
        let again = [(one, None), (other, None), (third, None)];
        assert_eq!(render(&after.text, &again).unwrap().text, after.text);
    }

    #[test]
    fn a_curve_is_drawn() {
        let picture = chart::line("Memory", ("s", "MiB"), &[(0.0, 1.0), (1.0, 2.0)]).unwrap();
        assert!(picture.starts_with("<svg") && picture.contains("Memory"));
    }
}
