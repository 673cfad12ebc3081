"""What went wrong on another machine, as a cause and a remedy, without a word of the error's own.

Libraries put addresses, signatures and keys into their messages. So an error is recognised by its class, its code or
its status, and said in words of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from mlcicd.remote.addresses import scheme

CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "set FSSPEC_GS_TOKEN to the file of a service account's key",
    "az": "set AZURE_STORAGE_CONNECTION_STRING",
    "pachyderm": "set PACH_PYTHON_AUTH_TOKEN",
    "https": "put name and password of this host into ~/.netrc",
}
# Classes of errors, by their names: their libraries are not imported here.
NO_CREDENTIALS = {
    *("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound"),
    *("DefaultCredentialsError", "RefreshError", "UnauthorizedSSOTokenError", "SSOTokenLoadError"),
    *("TokenRetrievalError", "ClientAuthenticationError", "CredentialUnavailableError"),
}
NOT_REACHED = {"ClientConnectorError", "EndpointConnectionError", "ConnectionError", "gaierror", "ServiceRequestError"}
CUT = {"ClientPayloadError", "IncompleteRead", "ResponseStreamingError", "ServerDisconnectedError"}
WRONG = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "AuthenticationFailed", "401"),
    *("InvalidAuthenticationInfo", "InvalidSecurity", "AuthorizationHeaderMalformed"),
}
EXPIRED = {"ExpiredToken", "TokenRefreshRequired", "RequestExpired"}
FORBIDDEN = {"AccessDenied", "AllAccessDisabled", "AuthorizationPermissionMismatch", "AuthorizationFailure", "403"}
NO_BUCKET = {"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"}
NO_KEY = {"NoSuchKey", "BlobNotFound", "404", "410"}
NO_VERSION = {"NoSuchVersion", "InvalidVersion"}
MOVED = {"PermanentRedirect", "301", "307", "IllegalLocationConstraintException"}
BUSY = {"SlowDown", "RequestTimeout", "ServiceUnavailable", "InternalError", "ServerBusy", "408", "429"}


class CutError(OSError):
    """An object ended before its end."""

    def __init__(self, got: int, size: int) -> None:
        self.got, self.size = got, size
        super().__init__(f"{got} of {size} bytes")


class Fault(NamedTuple):
    """Why something could not be had, what to do, and whether it may pass by itself."""

    cause: str
    remedy: str
    passing: bool = False


def explain(error: BaseException, location: str) -> Fault:
    """Say what an error means for who wants the object at an address."""
    chain = list(_chain(error))
    names = {cls.__name__ for link in chain for cls in type(link).__mro__}
    codes = {code for link in chain for code in _codes(link)}
    own = CREDENTIALS.get(scheme(location), CREDENTIALS["https"])
    cut = next((link for link in chain if isinstance(link, CutError)), None)
    if cut:
        return Fault(f"it ended after {cut.got:,} of {cut.size:,} bytes", "try again, or upload it anew", True)
    if names & NO_CREDENTIALS:
        return Fault("no credentials that can be used are set", own)
    if codes & WRONG:
        return Fault("the credentials are wrong", own)
    if codes & EXPIRED:
        return Fault("the credentials have expired", own)
    if "RequestTimeTooSkewed" in codes:
        return Fault("this machine's clock is wrong", "set the clock")
    if codes & NO_VERSION:
        return Fault("this version is gone there", "restore it, or take today's with 'ml data pin'")
    if codes & NO_BUCKET:
        return Fault("there is no such bucket", "check the location under 'servers' in contract.yaml")
    if codes & FORBIDDEN:
        return Fault("no permission to read it", "ask its owner for permission to read it, or use other credentials")
    if codes & NO_KEY:
        return Fault("there is no such file", "check the location under 'servers' in contract.yaml, or upload it")
    if codes & MOVED:
        return Fault("it is in another region", "set AWS_DEFAULT_REGION to the bucket's region")
    if codes & BUSY or any(code.startswith("5") and len(code) == 3 for code in codes):
        return Fault("the server is busy or broken", "try again later", True)
    if any("Timeout" in name for name in names):
        return Fault("the server does not answer", "check the network, or set ML_DATA_TIMEOUT to more seconds", True)
    if names & CUT:
        return Fault("the connection was cut", "try again", True)
    if names & NOT_REACHED:
        return Fault("the server cannot be reached", "check the network and the address", True)
    if "FileNotFoundError" in names:
        return Fault("there is no such file", "check the location under 'servers' in contract.yaml, or upload it")
    return Fault(type(chain[-1]).__name__, "see whether its server says more in its own log", True)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(8):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__


def _codes(error: BaseException) -> Iterator[str]:
    """Yield the codes that S3, Google, Azure and HTTP put into their errors."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        yield str(response.get("Error", {}).get("Code"))
        yield str(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    # aiohttp has 'status' and warns of 'code', which Google's errors have alone.
    names = ("status",) if hasattr(error, "status") else ("status_code", "code", "error_code")
    for name in names:
        value = getattr(error, name, None)
        if isinstance(value, str | int):
            yield str(getattr(value, "value", value))
