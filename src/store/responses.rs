//! HTTP responses that are received whole, so that one that breaks off is requested again.
//! `object_store` repeats requests by itself, but a response that breaks off only for objects. For
//! a listing, or for the response that an object does not exist, it returns an error.

use std::pin::Pin;

use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

/// Makes clients that receive every response whole, except objects.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Client(HttpClient);

impl HttpService for Client {
    fn call<'a, 'f>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'f>>
    where
        'a: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let object = request.method() == "GET"
                && !request.uri().query().is_some_and(|query| query.contains("list-type="));
            let response = self.0.execute(request).await?;
            if object && response.status().is_success() {
                return Ok(response);
            }
            let (head, body) = response.into_parts();
            let bytes =
                body.bytes().await.map_err(|e| HttpError::new(HttpErrorKind::Interrupted, e))?;
            Ok(HttpResponse::from_parts(head, bytes.into()))
        })
    }
}
