//! Which handler a request is for.

use hyper::{Method, StatusCode, Uri};
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    Healthz,
    Readyz,
    Fast,
    Slow(Duration),
    Events,
    Work,
    Stubborn,
    Panic,
    /// None: what the client is told.
    No(StatusCode, &'static str),
}

impl Route {
    pub(crate) fn of(method: &Method, uri: &Uri, is_stubborn: bool) -> Self {
        let (expected, route) = match uri.path() {
            "/healthz" => (Method::GET, Route::Healthz),
            "/readyz" => (Method::GET, Route::Readyz),
            "/fast" => (Method::GET, Route::Fast),
            "/slow" => (Method::GET, slow(uri.query().unwrap_or_default())),
            "/events" => (Method::GET, Route::Events),
            "/work" => (Method::POST, Route::Work),
            "/stubborn" if is_stubborn => (Method::GET, Route::Stubborn),
            "/panic" if is_stubborn => (Method::GET, Route::Panic),
            _ => return Route::No(StatusCode::NOT_FOUND, "there is nothing here"),
        };
        match *method == expected {
            true => route,
            false => Route::No(StatusCode::METHOD_NOT_ALLOWED, "not by this method"),
        }
    }

    /// For reports and logs: nothing in it is the client's.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Route::Healthz => "GET /healthz",
            Route::Readyz => "GET /readyz",
            Route::Fast => "GET /fast",
            Route::Slow(_) => "GET /slow",
            Route::Events => "GET /events",
            Route::Work => "POST /work",
            Route::Stubborn => "GET /stubborn",
            Route::Panic => "GET /panic",
            Route::No(..) => "nothing",
        }
    }
}

fn slow(query: &str) -> Route {
    let ms = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok());
    match ms {
        Some(ms) => Route::Slow(Duration::from_millis(ms)),
        None => Route::No(StatusCode::BAD_REQUEST, "write /slow?ms=N, in milliseconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_a_method_and_a_path() {
        let route = |method, uri: &str| Route::of(&method, &uri.parse().unwrap(), false);
        assert_eq!(route(Method::GET, "/fast?x"), Route::Fast);
        assert_eq!(
            route(Method::GET, "/slow?ms=20"),
            Route::Slow(Duration::from_millis(20))
        );
        for (method, uri, status) in [
            (Method::POST, "/fast", StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, "/work", StatusCode::METHOD_NOT_ALLOWED),
            (Method::GET, "/", StatusCode::NOT_FOUND),
            (Method::GET, "/stubborn", StatusCode::NOT_FOUND),
            (Method::GET, "/slow", StatusCode::BAD_REQUEST),
            (Method::GET, "/slow?ms=-1", StatusCode::BAD_REQUEST),
            (
                Method::GET,
                "/slow?ms=99999999999999999999",
                StatusCode::BAD_REQUEST,
            ),
        ] {
            let Route::No(got, _) = route(method, uri) else {
                panic!("{uri}")
            };
            assert_eq!(got, status, "{uri}");
        }
    }
}
