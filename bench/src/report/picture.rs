//! The picture: refreshes a second beside what limits them and what else there is, and how far each row is from its target.

use super::Report;
use crate::bench::Bench;
use crate::figures::count;
use crate::peers::store_name;
use crate::rows::Verdict;
use crate::scenarios::{MANY, yardstick_of};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 400.0;
const BAR: f64 = 18.0;
const STEP: f64 = 26.0;
const RIGHT: f64 = 120.0;

const LIMIT: &str = "#94a3b8";
const OURS: &str = "#1d4ed8";
const THEIRS: &str = "#b45309";
const MET: &str = "#15803d";
const MISSED: &str = "#b91c1c";

struct Canvas {
    text: String,
    y: f64,
}

impl Canvas {
    fn heading(&mut self, text: &str, under: &str) {
        self.y += 34.0;
        self.put(&format!(
            "<text x=\"20\" y=\"{:.0}\" font-size=\"17\" font-weight=\"bold\">{}</text>",
            self.y,
            escaped(text)
        ));
        self.y += 20.0;
        self.put(&format!("<text x=\"20\" y=\"{:.0}\" fill=\"#475569\">{}</text>", self.y, escaped(under)));
        self.y += 14.0;
    }

    fn bar(&mut self, name: &str, from: f64, to: f64, colour: &str, value: &str) {
        let (low, high) = (from.min(to), from.max(to));
        let middle = self.y + BAR * 0.75;
        let (name, value) = (escaped(name), escaped(value));
        self.put(&format!("<text x=\"{:.0}\" y=\"{middle:.1}\" text-anchor=\"end\">{name}</text>", LEFT - 10.0));
        let width = (high - low).max(1.0);
        let y = self.y;
        self.put(&format!(
            "<rect x=\"{low:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{colour}\"/>"
        ));
        self.put(&format!("<text x=\"{:.1}\" y=\"{middle:.1}\">{value}</text>", high + 8.0));
        self.y += STEP;
    }

    fn put(&mut self, element: &str) {
        self.text.push_str("  ");
        self.text.push_str(element);
        self.text.push('\n');
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

pub(super) fn draw(report: &Report, bench: &Bench) -> String {
    let mut canvas = Canvas { text: String::new(), y: 0.0 };
    rates(report, bench, &mut canvas);
    targets(report, &mut canvas);
    let height = canvas.y + 20.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" font-family=\"Helvetica, Arial, sans-serif\" \
         font-size=\"13\" fill=\"#0f172a\" role=\"img\" aria-label=\"The main figures and how far each row is from its target\">\n  \
         <rect width=\"{WIDTH}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n{}</svg>\n",
        canvas.text
    )
}

fn rates(report: &Report, bench: &Bench, canvas: &mut Canvas) {
    let mut bars = vec![
        ("bare axum hello, the same driver".to_owned(), yardstick_of("refresh, SQLite"), LIMIT),
        ("raw SQLite updates, 64 a commit".to_owned(), "SQLite updates, 64 a commit".to_owned(), LIMIT),
        ("pgbench, single-row updates, 32 clients".to_owned(), yardstick_of("refresh, PostgreSQL"), LIMIT),
        ("Countersign, SQLite".to_owned(), "refresh, SQLite".to_owned(), OURS),
        ("Countersign, PostgreSQL".to_owned(), "refresh, PostgreSQL".to_owned(), OURS),
    ];
    for peer in &bench.peers {
        for store in &peer.protocol.stores {
            let name = format!("{}, {}", peer.protocol.name, store_name(store));
            bars.push((name, peer.figure("refresh", store), THEIRS));
        }
    }
    let found: Vec<_> = bars
        .into_iter()
        .filter_map(|(name, figure, colour)| Some((name, report.middle(&figure)?.value, colour)))
        .filter(|(_, value, _)| *value > 0.0)
        .collect();
    let most = found.iter().map(|(_, value, _)| *value).fold(1.0, f64::max).log10();
    // Each tenfold is as wide as the next.
    let least = found.iter().map(|(_, value, _)| value.log10()).fold(most, f64::min).floor().min(most - 1.0);
    canvas.heading(
        &format!("Refreshes a second, {MANY} sessions at once, durable"),
        "Grey: what limits it. Blue: Countersign. Brown: others, rotation on. Each tenfold is equally wide.",
    );
    for (name, value, colour) in found {
        let end = LEFT + (value.log10() - least) / (most - least) * (WIDTH - LEFT - RIGHT);
        canvas.bar(&name, LEFT, end, colour, &format!("{}/s", count(value)));
    }
}

fn targets(report: &Report, canvas: &mut Canvas) {
    canvas.heading(
        "How far from the target",
        "Right of the line: met, by this factor. Left of it: missed. Bars end at a factor of ten.",
    );
    let line = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let top = canvas.y;
    for row in &report.rows {
        match (&row.verdict, row.margin) {
            (Verdict::Met | Verdict::Missed, Some(margin)) => {
                let end = line + margin.clamp(0.1, 10.0).log10() * (WIDTH - LEFT - RIGHT) / 2.0;
                let colour = if row.verdict == Verdict::Met { MET } else { MISSED };
                let value = if margin >= 10.0 { "10 × or more".to_owned() } else { format!("{margin:.2} ×") };
                canvas.bar(&row.what, line, end, colour, &value);
            }
            (Verdict::Failed(_), _) => canvas.bar(&row.what, line, line, MISSED, "no figure"),
            _ => {}
        }
    }
    let bottom = canvas.y;
    canvas.put(&format!("<path d=\"M{line:.1} {top:.1} V{bottom:.1}\" stroke=\"#0f172a\" stroke-width=\"1.5\"/>"));
}
