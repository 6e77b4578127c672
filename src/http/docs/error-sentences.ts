import type { ErrorCode } from '../../model/error.ts';

/** What each code means and what to do about it, in one sentence. */
export const errorSentences: Readonly<Record<ErrorCode, string>> = {
  ENTRY_ESCAPES: 'An entry of the archive has a .. in its name; name entries relative to the context.',
  ENTRY_ABSOLUTE: 'An entry of the zip has an absolute name; name entries relative to the context.',
  ENTRY_THROUGH_LINK: 'An entry of the archive would be written through a symbolic link.',
  HARDLINK_TARGET: 'A hard link of the archive points at no file that came before it in the archive.',
  ENTRY_TYPE:
    'The Dockerfile or .dockerignore is a device, FIFO or socket, or an entry is of a kind that few tools know.',
  ENTRY_DUPLICATE: 'Two entries of the zip have the same name.',
  ENTRY_CONFLICT: 'One name is used for two kinds of entries, such as a file and a folder.',
  ENTRY_NAME_TOO_LONG: 'The name of an entry is longer than a file system takes.',
  ENTRY_TOO_DEEP: 'An entry lies in too many nested folders.',
  ENTRY_NAME: 'The name of an entry is empty or holds bytes that no file name may have.',
  ENTRY_NAME_ENCODING: 'The name of an entry is not valid UTF-8; rename it, or leave it out.',
  ENTRY_SPARSE:
    'An entry is a sparse file in a form that only star or Solaris write; make the archive with GNU tar or bsdtar.',
  ARCHIVE_CORRUPT: 'The archive is damaged; make it again.',
  ARCHIVE_AMBIGUOUS: 'The archive says two different things of one entry; make it with another tool.',
  ARCHIVE_HEADER_TOO_LARGE: 'The extended header of an entry is larger than any name or attribute needs.',
  ARCHIVE_TRUNCATED: 'The archive ends too early; perhaps its making was interrupted.',
  ARCHIVE_TRAILING_DATA: 'Something follows the end of the archive.',
  ARCHIVE_UNSUPPORTED:
    'The archive uses a feature that is not read, such as encryption, or asks for much memory to be unpacked.',
  ARCHIVE_EMPTY: 'The archive holds nothing.',
  ARCHIVE_TOO_LARGE: 'The archive unpacks to more than is taken; leave out what the build does not need.',
  ARCHIVE_TOO_MANY_ENTRIES: 'The archive has more entries than are taken.',
  ARCHIVE_FORMAT: 'The upload is neither a zip nor a tar, as it is or compressed by gzip, bzip2, xz or zstd.',
  DOCKERFILE_MISSING: 'There is no Dockerfile at the path given; set the field dockerfile or context-dir.',
  DOCKERFILE_INVALID: 'The Dockerfile is empty, too large or not text.',
  DOCKERIGNORE_INVALID: 'The .dockerignore file cannot be used.',
  FRONTEND_NOT_ALLOWED: 'The Dockerfile names a frontend with # syntax=, which this service does not allow.',
  OCI_LAYOUT_INVALID:
    'A named context is an OCI image layout and does not hold exactly one image; leave one in it.',
  CONTENT_TYPE: 'The Content-Type is neither that of a form nor that of an archive.',
  CONTENT_ENCODING: 'The request has a Content-Encoding; send the archive without one.',
  FILE_MISSING: 'There is nothing to build: send a context, or a Dockerfile.',
  MULTIPART_INVALID: 'The form is not valid multipart/form-data.',
  MULTIPART_FIELD: 'The form or the URL has a field that does not exist, comes twice or is too large.',
  BODY_INVALID: 'The body is not what is expected here.',
  REQUEST_INVALID: 'The request is not valid HTTP, or has a parameter that does not exist.',
  OFFSET_INVALID: 'The offset is not a whole number from 0 on, or no event starts there.',
  OUT_OF_RANGE: 'The offset or range lies beyond the end.',
  STREAM_PROTOCOL: 'The messages of a gRPC call come in the wrong order.',
  PARAM_INVALID: 'A value is not one that its field takes.',
  REF_INVALID: 'A tag is not a valid image reference.',
  PLATFORM_UNSUPPORTED: 'The platform is not offered.',
  REGISTRY_FORBIDDEN:
    'An image is to be pushed to a registry where no build can find one, such as localhost.',
  SECRET_INVALID:
    'A secret or an ssh key has an id that none may have, is given twice, is too large, or is no key that can be used.',
  UPLOAD_TOO_LARGE: 'The upload is larger than is taken; leave out what the build does not need.',
  UPLOAD_TIMEOUT: 'The request came too slowly; send it again over a faster connection.',
  TOKEN_MISSING:
    'This needs a token in the header Authorization, or the metadata of that name: Bearer kiln_….',
  TOKEN_INVALID:
    'The token is not one of this service, was revoked, or has expired; ask who runs it for another.',
  TLS_REQUIRED:
    'The request came from another machine without TLS, where others may read its token; use https, and have a token revoked that was sent.',
  ROLE_TOO_LOW: 'The token does not allow this; use one of the role that the answer names.',
  HOST_NOT_ALLOWED: 'The service was called by a name that is not its own; KILN_HOSTS lists further ones.',
  ORIGIN_NOT_ALLOWED: 'A web page of another site made the request.',
  METHOD_NOT_ALLOWED: 'The address does not take this method; Allow lists those it takes.',
  NOT_FOUND: 'There is nothing at this address, or no build, matrix or operation with this id.',
  BUILDKIT_NOT_MADE:
    'The catalog has this entry, and this service has no VM image of it yet; the answer says how it is made.',
  BUILDKIT_UNKNOWN: 'The catalog has no such BuildKit; the answer names the nearest it has.',
  REBUILD_RUNNING: 'The image of this entry is being changed already; wait for that operation, or cancel it.',
  VERSION_EXISTS: 'There is an image of this version; a version means one image, so name another.',
  NO_PREVIOUS_IMAGE: 'Builds of this entry never ran on another image here, so there is none to go back to.',
  OPERATION_ENDED:
    'The operation has ended, so that it can neither be cancelled nor, where it succeeded, resumed.',
  CANARY_FAILED:
    'A new VM image does not do what it must; the one before it still serves, and the log of the operation says more.',
  REGISTRY_UNAVAILABLE:
    'A registry that images are pushed to did not answer, or had too much to do, three times. Of a rebuild what was made is kept: resume the operation. Of a build: send it again.',
  REGISTRY_AUTH:
    'A registry does not let kiln in. Where rebuilds are published its operator sets an account; a build brings its own in registry-config, which must let it read what it pushes.',
  REGISTRY_REFUSED:
    'A registry that images are pushed to refused what it was sent, or asked; the answer has its own words.',
  DIGEST_MISMATCH:
    'The registry gave back another image than it was sent, or none; look who else writes there.',
  EVIDENCE_INVALID:
    'What is told of an image is not signed by the key named, or its files are not those that were signed.',
  BUILD_TERMINAL: 'The build has ended, so that it cannot be cancelled.',
  NOT_READY: 'The build has not ended yet.',
  GONE: 'What the build kept has been removed.',
  CLIENT_GONE: 'The client closed its connection or stopped reading; its build is cancelled.',
  CANCELLED: 'The build or the operation was cancelled.',
  NO_CAPACITY:
    'Too many builds are waiting or being uploaded, too many archives are being unpacked, too many calls are open, or the disk is nearly full; try again after the time in Retry-After.',
  IDEMPOTENCY_KEY_REUSED:
    'The Idempotency-Key was sent with another build in the last 24 hours; each build has a key of its own.',
  DRAINING: 'The service is stopping; try again in a moment.',
  STORAGE_FULL: 'The disk of the service is full.',
  VIRTUALIZATION_UNAVAILABLE: 'No VM can be started here; /readyz says why.',
  IMAGE_CORRUPT:
    'The VM image or its template is damaged; the log of the service names the file, and what is to be done.',
  CONFIG_INVALID: 'The service has a setting it cannot use.',
  REQUIREMENT_MISSING: 'The machine lacks a program that the service needs.',
  TIMEOUT:
    'The build took longer, or printed nothing for longer, than it was given; set the field timeout or no-output-timeout.',
  INFRA: 'The VM of the build failed; send the build again.',
  TRANSFER_STALLED: 'The client read nothing of what was sent to it for too long; read on with WatchBuild.',
  ARTIFACT_INVALID: 'What the build put out is not the tar it should be.',
  SECRETS_LOST:
    'The service stopped before a build with secrets had ended; they lie in its memory alone, so send the build again.',
  LOG_TOO_LARGE: 'The build printed more than is kept of one build; let its steps print less.',
  DISK_FULL:
    'The build wrote more in its VM than the disk of the service has room for, or an artifact larger than one may be.',
  INTERNAL: 'Something failed that should not; the log of the service tells more under the request id.',
};
