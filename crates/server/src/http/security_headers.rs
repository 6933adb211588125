//! Headers that tell browsers what an answer is not to be used for (OWASP ASVS 5.0, 3.4).

use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue};

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// For data: nothing in it may ever run or load.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// For Swagger UI, whose scripts come from here alone but which styles its elements in place and has icons in its CSS.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// Two years, as browsers ask for before they build the rule in.
const TRANSPORT: &str = "max-age=63072000; includeSubDomains";

/// Whether the path is that of a page rather than of data.
pub(super) fn is_page(path: &str) -> bool {
    path.strip_prefix("/swagger").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Sets what the handler has not set itself.
pub(super) fn set(headers: &mut HeaderMap, page: bool, https: bool) {
    // Room for all of them at once, and for those that the handler has set.
    headers.reserve(8);
    let mut set = |name: HeaderName, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(CACHE_CONTROL, "no-store");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(REFERRER_POLICY, "no-referrer");
    set(CONTENT_SECURITY_POLICY, if page { PAGE_POLICY } else { DATA_POLICY });
    set(OPENER_POLICY, "same-origin");
    // This bars loads without CORS, such as an <img> of another site; front ends named in the settings use CORS.
    set(RESOURCE_POLICY, "same-origin");
    if https {
        set(STRICT_TRANSPORT_SECURITY, TRANSPORT);
    }
}
