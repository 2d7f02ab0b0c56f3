/* core/info.h: `resa info`: what a model, a trace or a results folder holds, for people.
 *
 * What is printed comes from files that may be hostile: control characters become '?'.                          */
#ifndef CORE_INFO_H
#define CORE_INFO_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* path: a .h5 trace, a .gguf file, a checkpoint folder, a results folder, or a known model's name. */
int info_print(const char *path, FILE *out);

int info_print_model(const char *source, FILE *out);
int info_print_trace(const char *path, FILE *out);
int info_print_results(const char *folder, FILE *out);

/* Text with control characters replaced; lines after the first are set in by indent spaces. */
void info_text(FILE *out, const char *text, int indent);
/* 1234567 as "1.2 MB", in a buffer of the caller's. */
const char *info_bytes(uint64_t n, char *text, size_t n_bytes);

#endif
