//! Standard output, whose reader may have had enough: `flare tail | head` ends, and a server goes on serving.

use std::{
    fmt,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// Nobody reads any more.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes a line, unless nobody reads any more.
pub(crate) fn line(text: fmt::Arguments<'_>) {
    write(|out| writeln!(out, "{text}"));
}

/// Writes a text as it is, unless nobody reads any more.
pub(crate) fn text(text: &str) {
    write(|out| out.write_all(text.as_bytes()));
}

/// Whether nobody reads any more: who writes without end ends then.
pub(crate) fn is_closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

fn write(what: impl FnOnce(&mut io::StdoutLock<'static>) -> io::Result<()>) {
    if is_closed() {
        return;
    }
    let mut out = io::stdout().lock();
    if let Err(error) = what(&mut out).and_then(|()| out.flush()) {
        CLOSED.store(true, Ordering::Relaxed);
        if error.kind() != io::ErrorKind::BrokenPipe {
            eprintln!("flare: standard output: {error}");
        }
    }
}

/// Writes a line as `println!` does.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::output::line(format_args!($($text)*))
    };
}

pub(crate) use say;
