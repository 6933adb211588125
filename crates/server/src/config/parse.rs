//! One function for each kind of value: text in; a type, or what would be right, out.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use countersign_token::Algorithm;
use ipnet::IpNet;
use jiff::{Span, SpanRelativeTo};
use tracing_subscriber::EnvFilter;

use super::types::{LogFormat, ReaderSecret, Registration};

type Parsed<T> = Result<T, String>;

pub(super) fn address(value: &str) -> Parsed<SocketAddr> {
    value
        .parse()
        .map_err(|_| "must be ADDRESS:PORT with a numeric address, such as 127.0.0.1:5000 or [::]:5000".to_owned())
}

/// A network in CIDR notation, or the network of one address. IPv4 in IPv6 becomes IPv4, as peers are compared.
pub(super) fn network(value: &str) -> Parsed<IpNet> {
    let wrong = || "must be an address or a network in CIDR notation, such as 10.0.0.0/8 or 192.0.2.7".to_owned();
    let network = match value.parse::<std::net::IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => value.parse::<IpNet>().map_err(|_| wrong())?,
    };
    match network {
        IpNet::V6(mapped) if mapped.prefix_len() >= 96 => match mapped.addr().to_ipv4_mapped() {
            Some(address) => IpNet::new(address.into(), mapped.prefix_len() - 96).map_err(|_| wrong()),
            None => Ok(network.trunc()),
        },
        _ => Ok(network.trunc()),
    }
}

pub(super) fn file(value: &str) -> Parsed<PathBuf> {
    if value.is_empty() || value.contains('\0') {
        return Err("must be the path of a file".to_owned());
    }
    Ok(PathBuf::from(value))
}

pub(super) fn audience(value: &str) -> Parsed<String> {
    let fits = !value.is_empty() && value.len() <= 256 && value.chars().all(|c| !c.is_control() && !c.is_whitespace());
    if fits { Ok(value.to_owned()) } else { Err("must be 1 to 256 bytes without blanks".to_owned()) }
}

pub(super) fn algorithm(value: &str) -> Parsed<Algorithm> {
    value.parse().map_err(|_| "must be ES256, EdDSA, RS256 or HS256".to_owned())
}

pub(super) fn reader_secret(value: &str) -> Parsed<ReaderSecret> {
    if value.chars().count() < 16 {
        return Err("must be at least 16 characters; `openssl rand -hex 32` makes a good one".to_owned());
    }
    if value.len() > 1024 || !value.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("must be at most 1024 characters, printable ASCII without blanks, to fit into a header".to_owned());
    }
    Ok(ReaderSecret::new(value))
}

pub(super) fn registration(value: &str) -> Parsed<Registration> {
    match value {
        "open" => Ok(Registration::Open),
        "closed" => Ok(Registration::Closed),
        _ => Err("must be open or closed".to_owned()),
    }
}

pub(super) fn log_format(value: &str) -> Parsed<LogFormat> {
    match value {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("must be text or json".to_owned()),
    }
}

pub(super) fn log_level(value: &str) -> Parsed<String> {
    let wrong = "must be error, warn, info, debug, trace or off, or module=level pairs separated by commas";
    // A single word that is no level would be taken for a module, and everything else would fall silent.
    let lone_word = value.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if value.is_empty() || lone_word && value.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
        return Err(wrong.to_owned());
    }
    EnvFilter::try_new(value).map(|_| value.to_owned()).map_err(|_| wrong.to_owned())
}

/// A whole number within bounds.
pub(super) fn number(least: u32, most: u32, reason: &'static str) -> impl FnOnce(&str) -> Parsed<u32> {
    move |value| {
        let number = value.parse::<u32>().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("must be a whole number from {least} to {most}: {reason}"))
    }
}

/// A whole number from one on.
pub(super) fn count(most: u32, reason: &'static str) -> impl FnOnce(&str) -> Parsed<NonZeroU32> {
    let number = number(1, most, reason);
    move |value| number(value).map(|number| NonZeroU32::MIN.saturating_add(number - 1))
}

/// A length of time in whole seconds within bounds, written with its unit.
pub(super) fn time(
    least: Duration,
    most: Duration,
    bounds: &'static str,
    reason: &'static str,
) -> impl FnOnce(&str) -> Parsed<Duration> {
    move |value| {
        let time = duration(value)?;
        if (least..=most).contains(&time) { Ok(time) } else { Err(format!("must be {bounds}: {reason}")) }
    }
}

fn duration(value: &str) -> Parsed<Duration> {
    const EXAMPLE: &str = "must be a length of time with its unit, such as 90s, 5m, 12h or 7d";
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{EXAMPLE}; for {value} seconds write {value}s"));
    }
    let span: Span = value.parse().map_err(|_| EXAMPLE.to_owned())?;
    // Months and years have no length of their own, so this refuses them.
    let duration = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "must be in weeks, days, hours, minutes or seconds: months and years vary in length".to_owned())?;
    let duration = Duration::try_from(duration).map_err(|_| "must not be negative".to_owned())?;
    if duration.subsec_nanos() == 0 { Ok(duration) } else { Err("must be whole seconds".to_owned()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lengths_of_time_have_a_unit() {
        for (value, seconds) in [
            ("0", 0),
            ("90s", 90),
            ("5m", 300),
            ("1h30m", 5400),
            ("1 hour 30 minutes", 5400),
            ("7d", 604_800),
            ("2w", 1_209_600),
            ("PT5M", 300),
        ] {
            assert_eq!(duration(value).unwrap().as_secs(), seconds, "{value}");
        }
        for (value, reason) in [
            ("", "with its unit"),
            ("300", "write 300s"),
            ("five minutes", "with its unit"),
            ("5 fortnights", "with its unit"),
            ("-5m", "negative"),
            ("1500ms", "whole seconds"),
            ("1mo", "months"),
            ("1y", "months"),
            ("99999999999999999999s", "with its unit"),
        ] {
            let refused = duration(value).unwrap_err();
            assert!(refused.contains(reason), "{value}: {refused}");
        }
    }

    #[test]
    fn times_and_numbers_are_bounded_and_say_why() {
        let parse = || time(Duration::from_secs(30), Duration::from_secs(3600), "30s to 1h", "because");
        assert_eq!(parse()("30s").unwrap().as_secs(), 30);
        assert_eq!(parse()("1h").unwrap().as_secs(), 3600);
        assert_eq!(parse()("29s").unwrap_err(), "must be 30s to 1h: because");
        assert_eq!(parse()("3601s").unwrap_err(), "must be 30s to 1h: because");
        assert_eq!(number(8, 64, "because")("64").unwrap(), 64);
        for value in ["7", "65", "-8", "8.0", "", "99999999999"] {
            assert_eq!(number(8, 64, "because")(value).unwrap_err(), "must be a whole number from 8 to 64: because");
        }
    }

    #[test]
    fn proxies_are_networks_or_addresses() {
        for (value, meant) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("::ffff:192.0.2.7", "192.0.2.7/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(network(value).unwrap().to_string(), meant, "{value}");
        }
        for value in ["", "10.0.0.0/33", "proxy.example", "10.0.0", "*"] {
            assert!(network(value).is_err(), "{value}");
        }
    }

    #[test]
    fn a_log_filter_that_would_silence_everything_by_mistake_is_refused() {
        for value in ["info", "WARN", "off", "countersign=debug", "warn,countersign::http=trace"] {
            assert!(log_level(value).is_ok(), "{value}");
        }
        for value in ["", "verbose", "infoo", "countersign=loud", "a=b=c"] {
            assert!(log_level(value).is_err(), "{value}");
        }
    }

    #[test]
    fn the_reader_secret_is_long_and_fits_into_a_header() {
        assert!(reader_secret(&"x".repeat(16)).is_ok());
        for value in ["x".repeat(15), "x".repeat(1025), format!("{} ", "x".repeat(32)), "ü".repeat(32)] {
            assert!(reader_secret(&value).is_err(), "{value}");
        }
    }
}
