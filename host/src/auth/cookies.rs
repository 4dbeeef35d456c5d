//! The platform's cookies: their names, how they are set, and how they are read.
//!
//! Over HTTPS the names begin with `__Host-`. Browsers accept such a cookie only from the host
//! itself, over HTTPS and for `Path=/` (RFC 6265bis, section 4.1.3.2), so a page on a subdomain
//! cannot plant one. `Path=/` sends it to the endpoints of scripts too, but scripts never see it:
//! see [`without_platform_cookies`]. Over plain HTTP no browser accepts that prefix, and the
//! cookies are limited to the API's paths instead.
//!
//! Invariant: only the name with the prefix is read over HTTPS, and only the other over HTTP.
//! Invariant: a request with two cookies of one name is refused, because one was planted.

use axum::http::{HeaderMap, header};

use crate::error::{Error, Refusal};

/// The beginning of the platform's cookie names, after the prefixes of [`PREFIXES`].
const OURS: &str = "picloud_";
/// Prefixes that browsers know (RFC 6265bis, section 4.1.3). They are case-insensitive.
const PREFIXES: [&str; 2] = ["__host-", "__secure-"];

/// One of the platform's cookies.
#[derive(Clone, Copy)]
pub(super) struct Cookie {
    /// The name over plain HTTP.
    plain: &'static str,
    /// The name over HTTPS.
    secure: &'static str,
    /// The path over plain HTTP.
    path: &'static str,
    same_site: &'static str,
}

/// The session of a browser.
pub(super) const SESSION: Cookie = Cookie {
    plain: "picloud_session",
    secure: "__Host-picloud_session",
    path: "/api/v1",
    same_site: "Strict",
};

/// Binds a sign-in with the identity provider to the browser that started it. Lax, because the
/// browser returns from the provider's site.
pub(super) const OIDC: Cookie = Cookie {
    plain: "picloud_oidc",
    secure: "__Host-picloud_oidc",
    path: "/api/v1/auth/oidc",
    same_site: "Lax",
};

/// Shows that a browser has signed in before.
pub(super) const DEVICE: Cookie = Cookie {
    plain: "picloud_device",
    secure: "__Host-picloud_device",
    path: "/api/v1/auth",
    same_site: "Strict",
};

impl Cookie {
    /// Returns the value of `Set-Cookie`.
    pub(super) fn set(self, value: &str, max_age_s: i64, is_https: bool) -> String {
        let (path, secure) = if is_https { ("/", "; Secure") } else { (self.path, "") };
        let (name, same_site) = (self.name(is_https), self.same_site);
        format!(
            "{name}={value}; HttpOnly; SameSite={same_site}; Path={path}; \
             Max-Age={max_age_s}{secure}"
        )
    }

    /// Returns the value in a request; `None` without the cookie.
    ///
    /// # Errors
    /// `Unauthorized` with the code `cookie_ambiguous` if the cookie is sent more than once.
    pub(super) fn read(self, headers: &HeaderMap, is_https: bool) -> Result<Option<&str>, Error> {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let pairs =
            lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let name = self.name(is_https);
        let mut values =
            pairs.filter_map(|(found, value)| (found.trim_end() == name).then_some(value));
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => {
                let message = format!(
                    "the cookie {name} was sent more than once, so one of them is from another \
                     site: delete this site's cookies and sign in again"
                );
                Err(Error::Unauthorized(Refusal::new("cookie_ambiguous", message)))
            }
        }
    }

    fn name(self, is_https: bool) -> &'static str {
        if is_https { self.secure } else { self.plain }
    }
}

/// Whether a cookie with this name is the platform's, or could be mistaken for one. The comparison
/// ignores case.
#[must_use]
pub fn is_platform_cookie(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(&name);
    bare.starts_with(OURS)
}

/// Removes the platform's cookies from a `Cookie` header.
#[must_use]
pub fn without_platform_cookies(cookie: &str) -> String {
    let kept = cookie.split(';').map(str::trim);
    // A cookie without a name is sent as its value alone, which then looks like a name.
    let name = |pair: &str| pair.trim_start_matches('=').split('=').next().map(str::to_owned);
    let kept = kept.filter(|pair| name(pair).is_none_or(|name| !is_platform_cookie(&name)));
    kept.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter().map(|line| (header::COOKIE, line.parse().unwrap()));
        lines.collect()
    }

    #[test]
    fn a_cookie_is_set_with_the_prefix_where_browsers_know_it() {
        assert_eq!(
            SESSION.set("a", 5, true),
            "__Host-picloud_session=a; HttpOnly; SameSite=Strict; Path=/; Max-Age=5; Secure"
        );
        assert_eq!(
            SESSION.set("a", 5, false),
            "picloud_session=a; HttpOnly; SameSite=Strict; Path=/api/v1; Max-Age=5"
        );
        assert!(
            OIDC.set("a", 5, true).starts_with("__Host-picloud_oidc=a; HttpOnly; SameSite=Lax")
        );
    }

    #[test]
    fn a_cookie_is_found_among_others_and_by_the_name_of_its_scheme_only() {
        let of = |lines: &[&str], is_https| {
            SESSION.read(&headers(lines), is_https).unwrap().map(str::to_owned)
        };
        assert_eq!(of(&["a=1; picloud_session=abc; b=2"], false).as_deref(), Some("abc"));
        assert_eq!(of(&["a=1", "picloud_session=abc"], false).as_deref(), Some("abc"));
        assert_eq!(of(&["a=1;__Host-picloud_session=abc"], true).as_deref(), Some("abc"));
        // A page on a subdomain can plant this one.
        assert_eq!(of(&["picloud_session=planted"], true), None);
        let both = ["picloud_session=planted; __Host-picloud_session=abc"];
        assert_eq!(of(&both, true).as_deref(), Some("abc"));
        assert_eq!(of(&["__Host-picloud_session=abc"], false), None);
        for none in ["xpicloud_session=abc; picloud_sessionx=d", "picloud_session", ""] {
            assert_eq!(of(&[none], false), None, "{none}");
        }
    }

    #[test]
    fn two_cookies_of_one_name_are_refused() {
        for (lines, is_https) in [
            (&["picloud_session=a; picloud_session=b"][..], false),
            (&["picloud_session=a", "x=1; picloud_session=a"], false),
            (&["picloud_session =a; picloud_session=a"], false),
            (&["__Host-picloud_session=a; __Host-picloud_session=b"], true),
        ] {
            let refused = SESSION.read(&headers(lines), is_https).unwrap_err();
            assert_eq!(refused.refusal().code, "cookie_ambiguous", "{lines:?}");
        }
    }

    #[test]
    fn what_is_the_platforms_is_taken_from_among_others() {
        for (sent, kept) in [
            ("a=1; picloud_session=abc;b=2", "a=1; b=2"),
            ("a=1; __Host-picloud_session=abc; __host-PICLOUD_oidc=x", "a=1"),
            ("__Secure-picloud_other=1", ""),
            ("=picloud_session=abc; b=2", "b=2"),
            ("a=picloud_session; xpicloud_=2", "a=picloud_session; xpicloud_=2"),
        ] {
            assert_eq!(without_platform_cookies(sent), kept, "{sent}");
        }
    }
}
