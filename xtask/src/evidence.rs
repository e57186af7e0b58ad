//! `cargo xtask evidence`: the figures of doc/reliability.md, made on this machine from this commit; what is not made again keeps those that it has.

mod chart;
mod cluster;
mod machine;
mod page;
mod record;
mod section;
mod steps;

use std::{fs, io::ErrorKind, path::PathBuf, process::ExitCode, time::Instant};

use anyhow::{Context, bail};

use self::{
    machine::Machine,
    record::Record,
    steps::{Ground, STEPS},
};

/// Where the page stands.
const PAGE: &str = "doc/reliability.md";

/// Arguments of `cargo xtask evidence`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Make this step only; may be given more than once
    #[arg(long, value_name = "STEP", value_parser = steps::names())]
    only: Vec<String>,
    /// A small part of each step, to try the machinery: nothing goes into doc/reliability.md
    #[arg(long)]
    quick: bool,
    /// Make also what was made from this commit already
    #[arg(long)]
    again: bool,
}

/// Makes what is missing, step by step, then the page. Fails if a step did.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let root = crate::root()?;
    let ground = Ground::prepare(root.clone(), arguments.quick)?;
    let machine = Machine::look(&root)?;
    if machine.changed && !arguments.quick {
        bail!("the tree differs from the commit: figures are of a commit");
    }
    let wanted: Vec<_> = STEPS
        .iter()
        .filter(|step| arguments.only.is_empty() || arguments.only.iter().any(|it| it == step.name))
        .collect();
    for (number, step) in wanted.iter().enumerate() {
        let file = ground.file(step.name);
        if !arguments.again
            && Record::read(&file)?.is_some_and(|it| it.is_of(&machine) && it.failed.is_none())
        {
            eprintln!("{}: made already", step.name);
            continue;
        }
        eprintln!(
            "{} ({} of {}): {}",
            step.name,
            number + 1,
            wanted.len(),
            step.question
        );
        let begun = Instant::now();
        let outcome = (step.make)(&ground);
        let seconds = begun.elapsed().as_secs();
        let record = Record::new(step.name, &machine, seconds, outcome);
        if let Some(why) = &record.failed {
            eprintln!("{}: FAILED after {seconds} s: {why}", step.name);
        }
        record.write(&file)?;
    }
    finish(&ground, &machine)
}

/// Brings the records of this commit into the page, and says its verdict.
fn finish(ground: &Ground, machine: &Machine) -> anyhow::Result<ExitCode> {
    let mut records = Vec::new();
    for step in STEPS {
        let record = Record::read(&ground.file(step.name))?;
        records.push((step, record.filter(|it| it.is_of(machine))));
    }
    let folder: PathBuf = if ground.quick {
        ground.folder.clone()
    } else {
        ground.root.join("doc")
    };
    let file = folder.join("reliability.md");
    let so_far = match fs::read_to_string(&file) {
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        text => text.with_context(|| file.display().to_string())?,
    };
    let page = page::render(&so_far, &records)?;
    for (name, picture) in &page.pictures {
        let file = folder.join("images").join(name);
        fs::create_dir_all(folder.join("images"))?;
        fs::write(&file, picture).with_context(|| file.display().to_string())?;
    }
    fs::write(&file, &page.text).with_context(|| file.display().to_string())?;
    println!(
        "{}: {}",
        if ground.quick {
            file.display().to_string()
        } else {
            PAGE.to_owned()
        },
        page.verdict
    );
    Ok(if page.is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
