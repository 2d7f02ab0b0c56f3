/* core/text_fetch.h: a known text, fetched into the user's cache (fetch.h).
 *
 * Where the file is installed and holds the text, it is taken from there.  Else `apt-get download` gets the package into a folder of
 * ours, which needs no root and installs nothing; `dpkg-deb --fsys-tarfile`, `tar` and `gzip` unpack the one file.  The excerpt is
 * kept if its SHA-256 is the known one: a release of Debian with another text is refused, with both.                             */
#ifndef CORE_TEXT_FETCH_H
#define CORE_TEXT_FETCH_H

#include "core/text_known.h"

int text_fetch(const struct text_package *t, bool verbose); /* 0 when it is there and verified */

#endif
