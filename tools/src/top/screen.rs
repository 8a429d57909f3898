//! The live view on a terminal.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Paragraph};
use ratatui::{DefaultTerminal, Frame};

use super::view::View;
use super::{LOOK_EVERY, SAMPLE_EVERY, read_again};
use crate::statistics::pages;

const NO_TERMINAL: &str = "there is no terminal for a live view; use `aquifer top --once`";

/// Shows the page until the user ends it or the engine does. The terminal is as it was after that,
/// and after a panic.
pub(super) fn live(page: &Path) -> Result<()> {
    // Before the terminal changes: an error of the first look is the usual one.
    pages::read(page)?;
    ensure!(std::io::stdout().is_terminal(), "{NO_TERMINAL}");
    let mut terminal = ratatui::try_init().context(NO_TERMINAL)?;
    let ended = watch(&mut terminal, page);
    ratatui::restore();
    ended
}

fn watch(terminal: &mut DefaultTerminal, page: &Path) -> Result<()> {
    let mut before = pages::read(page)?;
    let mut view = View::of(&before, &before, pages::stale(page));
    loop {
        terminal.draw(|frame| draw(frame, &view))?;
        let sampled = Instant::now();
        while sampled.elapsed() < SAMPLE_EVERY {
            if !event::poll(LOOK_EVERY)? {
                continue;
            }
            match event::read()? {
                Event::Key(key) if ends(key.code, key.modifiers) => return Ok(()),
                Event::Resize(..) => {
                    terminal.draw(|frame| draw(frame, &view))?;
                }
                _ => {}
            }
        }
        let now = read_again(page)?;
        view = View::of(&before, &now, pages::stale(page));
        before = now;
    }
}

fn ends(code: KeyCode, modifiers: KeyModifiers) -> bool {
    let interrupt = code == KeyCode::Char('c') && modifiers.contains(KeyModifiers::CONTROL);
    interrupt || matches!(code, KeyCode::Char('q') | KeyCode::Esc)
}

fn draw(frame: &mut Frame<'_>, view: &View) {
    let head_lines = 1 + usize::from(view.warning.is_some());
    let tables_lines = view.tables.iter().map(|table| table.lines().len() + 1);
    let heights = std::iter::once(head_lines).chain(tables_lines);
    let heights: Vec<_> = heights.map(|lines| Constraint::Length(lines as u16)).collect();
    let areas = Layout::vertical(heights).split(frame.area());
    let mut head = Text::from(Line::from(view.head.as_str()).bold());
    if let Some(warning) = &view.warning {
        head.push_line(Line::from(warning.as_str()).red());
    }
    frame.render_widget(Paragraph::new(head), areas[0]);
    for (table, area) in view.tables.iter().zip(&areas[1..]) {
        let block = Block::new().title(Line::from(table.title).bold().cyan());
        let mut lines = table.lines().into_iter();
        let columns = Line::from(lines.next().unwrap_or_default()).style(Style::new().dim());
        let text: Vec<Line<'_>> = std::iter::once(columns).chain(lines.map(Line::from)).collect();
        frame.render_widget(Paragraph::new(text).block(block), *area);
    }
}
