/* core/notes.h: texts for the reader of a plan: what was left out and why, what was let through. */
#ifndef CORE_NOTES_H
#define CORE_NOTES_H

struct notes {
    char **text; /* owned [n] */
    int n;
};

/* From the 1000th on only that there is more is kept. */
int  notes_add(struct notes *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void notes_close(struct notes *n);

#endif
