//! What is the same for everybody as long as the server runs: kept once, shared by every answer, and not sent again to
//! a client that has it.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher as _};

use actix_web::http::header::{self, CacheDirective, EntityTag, IfNoneMatch};
use actix_web::web::Bytes;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse};

/// A body that does not change, and the tag that it is known by.
#[derive(Debug)]
pub(super) struct Asset {
    content_type: Cow<'static, str>,
    bytes: Bytes,
    tag: EntityTag,
}

impl Asset {
    pub(super) fn new(content_type: impl Into<Cow<'static, str>>, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let mut hasher = DefaultHasher::new();
        hasher.write(&bytes);
        let tag = EntityTag::new_strong(format!("{:016x}", hasher.finish()));
        Self { content_type: content_type.into(), bytes, tag }
    }

    /// The answer to a request: 304 where the client has these bytes.
    pub(super) fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let is_known = match request.get_header::<IfNoneMatch>() {
            Some(IfNoneMatch::Any) => true,
            Some(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(&self.tag)),
            None => false,
        };
        let mut answer = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
        answer.insert_header(header::ETag(self.tag.clone()));
        // It may be kept, and is asked for each time whether it is still the same.
        answer.insert_header(header::CacheControl(vec![CacheDirective::NoCache]));
        if is_known {
            return answer.finish();
        }
        answer.insert_header((header::CONTENT_TYPE, self.content_type.as_ref()));
        answer.body(self.bytes.clone())
    }
}

#[cfg(test)]
mod tests {
    use actix_web::body::MessageBody as _;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn every_answer_shares_the_same_bytes_and_a_client_that_has_them_gets_none() {
        let asset = Asset::new("text/plain", "x".repeat(300_000));
        let answer = |tag: Option<&str>| {
            let mut request = TestRequest::get();
            if let Some(tag) = tag {
                request = request.insert_header((header::IF_NONE_MATCH, tag.to_owned()));
            }
            asset.answer(&request.to_http_request())
        };
        let first = answer(None);
        let tag = first.headers().get(header::ETAG).unwrap().to_str().unwrap().to_owned();
        for stale in [None, Some("\"0000\"")] {
            let body = answer(stale).into_body().try_into_bytes().unwrap();
            assert_eq!(body.as_ptr(), asset.bytes.as_ptr(), "nothing is copied");
        }
        for known in [tag.as_str(), "*", &format!("\"1\", W/{tag}")] {
            let told = answer(Some(known));
            assert_eq!(
                (told.status().as_u16(), told.headers().get(header::ETAG).unwrap().to_str().unwrap()),
                (304, tag.as_str())
            );
            assert!(told.into_body().try_into_bytes().unwrap().is_empty());
        }
    }
}
