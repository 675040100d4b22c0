//! Bodies as a pipeline carries them: on as they arrive, or whole where a middleware needs them.

use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use mecha_app_channel::{BodyStream, BoxError, Outgoing, Returning};

/// A body that a pipeline can read whole and put another in the place of.
pub trait Carried: Sized + Send {
    /// A body that is all there.
    fn whole(bytes: Bytes) -> Self;
    /// The body, read to its end.
    ///
    /// # Errors
    /// [`Unread`].
    fn read(self, most: usize) -> impl Future<Output = Result<Bytes, Unread>> + Send;
}

/// Why a body was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// It is longer than allowed.
    #[error("the body is larger than {0} bytes; --max-body-size sets the limit")]
    TooLarge(usize),
    /// It broke off.
    #[error("the body broke off: {0}")]
    Broken(String),
}

impl Unread {
    /// Reads any body to its end.
    ///
    /// # Errors
    /// [`Unread`].
    pub async fn collect<B>(body: B, most: usize) -> Result<Bytes, Self>
    where
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send,
    {
        match Limited::new(body, most).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) if error.is::<LengthLimitError>() => Err(Self::TooLarge(most)),
            Err(error) => Err(Self::Broken(error.to_string())),
        }
    }

    /// Reads a body of any kind, whose kind was forgotten, to its end.
    ///
    /// # Errors
    /// [`Unread`].
    pub fn collect_stream(body: BodyStream, most: usize) -> impl Future<Output = Result<Bytes, Self>> + Send {
        // The compiler cannot show of the forgotten kind what it must know to send the future elsewhere.
        Self::collect(Returning::stream(body), most)
    }
}

impl Carried for Outgoing {
    fn whole(bytes: Bytes) -> Self {
        Self::from(bytes)
    }

    async fn read(self, most: usize) -> Result<Bytes, Unread> {
        Unread::collect(self, most).await
    }
}

impl Carried for Returning {
    fn whole(bytes: Bytes) -> Self {
        Self::from(bytes)
    }

    async fn read(self, most: usize) -> Result<Bytes, Unread> {
        Unread::collect(self, most).await
    }
}
