//! The faults of a store, and the requests that they concern.

use object_store::Error;
use object_store::path::Path;

/// A fault of the network or of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The request has its effect, and its response is lost.
    LostReply,
    /// The response is lost, and the effect comes many requests later: perhaps in another run.
    LatePut,
    /// The effect comes twice, the second time many requests later.
    RepeatedPut,
    /// A conditional creation is refused as if the object existed, by 412.
    False412,
    /// The same by 409.
    False409,
    Refused500,
    Refused503,
    /// The body ends early without an error. The kernel of Delta, which reads the logs of tables,
    /// relies on its client to report that, as the clients of `object_store` do.
    Truncated,
    /// The body ends early with an error.
    BrokenBody,
    /// A new object is missing in the next listings. It breaks the promise of [`Store::list`] that
    /// every object is listed once its creation has returned. S3 keeps that promise since December
    /// 2020, as do folders and the servers of the tests; caches in front of a store may break it.
    LateListing,
}

/// The faults of stores that keep all promises of [`Store`].
pub(crate) const FAULTS: [Fault; 9] = [
    Fault::LostReply,
    Fault::LatePut,
    Fault::RepeatedPut,
    Fault::False412,
    Fault::False409,
    Fault::Refused500,
    Fault::Refused503,
    Fault::Truncated,
    Fault::BrokenBody,
];

/// The kind of a request.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Request {
    Create,
    Put,
    Get,
    List,
    Delete,
}

impl Fault {
    /// Returns true if the fault may befall the request.
    pub(super) fn concerns(self, request: Request) -> bool {
        let (is_create, is_put) = (request == Request::Create, request == Request::Put);
        match self {
            Fault::LostReply => is_create || is_put || request == Request::Delete,
            Fault::LatePut | Fault::RepeatedPut | Fault::LateListing => is_create || is_put,
            Fault::False412 | Fault::False409 => is_create,
            Fault::Refused500 | Fault::Refused503 => true,
            Fault::Truncated | Fault::BrokenBody => request == Request::Get,
        }
    }

    /// Returns the error that the sender of the request gets.
    pub(super) fn error(self, path: &Path) -> Error {
        let (path, source) = (path.to_string(), format!("{self:?}").into());
        match self {
            Fault::False412 | Fault::False409 => Error::AlreadyExists { path, source },
            _ => Error::Generic { store: "lossy", source },
        }
    }
}

/// The faults of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) seed: u64,
    /// Faults among 1,000 requests.
    pub(crate) permille: u64,
    pub(crate) faults: Vec<Fault>,
}
