/* analysis/output.h: files of a report, replaced in one go, and text made safe for them.                        */
#ifndef ANALYSIS_OUTPUT_H
#define ANALYSIS_OUTPUT_H

#include <stdio.h>

struct output {
    FILE *file;
    char path[4096], part[4104];
};

/* FOLDER/name, written to name.part; the folder is made where it is not there. */
int output_open(struct output *o, const char *folder, const char *name);
int output_done(struct output *o);   /* closes and renames; -1: nothing was replaced */
void output_close(struct output *o); /* without output_done() the part is removed; safe on a zeroed struct */

/* Text from files: markup escaped, control characters and broken UTF-8 replaced by '?'. */
void output_html(FILE *out, const char *text);
void output_md(FILE *out, const char *text); /* for a cell of a Markdown table */
void output_csv(FILE *out, const char *text);
void output_plot(FILE *out, const char *text); /* inside a double-quoted string of gnuplot, not enhanced */

#endif
