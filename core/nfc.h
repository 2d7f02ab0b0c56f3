/* core/nfc.h: Unicode normalisation form C.
 *
 * The tables and the composition are utf8proc's.  Its own ordering of combining marks takes time quadratic in the length
 * of a run of marks, which a hostile text can make as long as it likes; here a run is sorted in n log n.
 *
 * The `tokenizers` library orders by tables of Unicode 9: 98 rare marks that came later stay where they were there, and are
 * ordered here (utf8proc 2.8: Unicode 14).                                                                           */
#ifndef CORE_NFC_H
#define CORE_NFC_H

#include "core/str_view.h"

/* *out: text in NFC, owned by the caller (mem_free(); NULL after a failure).  text must be UTF-8. */
int nfc_normalise(struct str_view text, char **out, size_t *n);

/* Whether text is ASCII, which NFC leaves as it is. */
int nfc_is_plain(struct str_view text);

#endif
