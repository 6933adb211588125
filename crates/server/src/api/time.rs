//! Times on the wire: RFC 3339 in UTC with `Z`.

use countersign_core::time::Millis;
use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// An instant, as answers show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rfc3339(pub(crate) Millis);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A time that no calendar has can only come from a damaged row: the epoch is shown rather than an error.
        let timestamp = Timestamp::from_millisecond(self.0.get()).unwrap_or(Timestamp::UNIX_EPOCH);
        serializer.collect_str(&timestamp)
    }
}

impl PartialSchema for Rfc3339 {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .description(Some("RFC 3339, in UTC"))
            .examples(["2026-11-24T12:05:00Z"])
            .into()
    }
}

impl ToSchema for Rfc3339 {}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn times_end_with_z() {
        let shown = |milliseconds| serde_json::to_string(&Rfc3339(Millis::new(milliseconds))).unwrap();
        assert_eq!(shown(1_795_521_900_000), "\"2026-11-24T12:05:00Z\"");
        assert_eq!(shown(1_795_521_900_250), "\"2026-11-24T12:05:00.25Z\"");
        assert_eq!(shown(i64::MAX), "\"1970-01-01T00:00:00Z\"");
    }
}
