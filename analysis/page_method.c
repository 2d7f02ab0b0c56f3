#include "analysis/page_method.h"

#include "analysis/estimate.h"

enum { N_COUNTS = 4 };

/* "": not simulated. */
static const struct coverage {
    const char *what, *counts[N_COUNTS]; /* 6, 8, 12, 16 texts */
} coverages[] = {
    { "mean over texts that differ evenly (normal)", { "96.5", "96.5", "96.0", "96.0" } },
    { "mean over texts that differ unevenly (log-normal, 0.75)", { "92.0", "92.7", "93.6", "93.6" } },
    { "mean over texts that differ very unevenly (log-normal, 1)", { "88.8", "89.6", "91.3", "92.8" } },
    { "mean over texts with outliers (Student's t, 3 degrees of freedom)", { "96.4", "96.6", "96.3", "96.0" } },
    { "a growth law's parameters, the least of all laws and kinds of noise", { "91.7", "93.4", "93.4", "93.4" } },
    { "the same where nothing grows", { "92.4", "93.5", "93.8", "94.5" } },
    { "a rectified lane's mean, predicted, the least of three laws", { "", "93.2", "", "92.4" } },
    { "series without growth that are said to grow, the most of any kind", { "3.1", "2.1", "2.3", "1.9" } },
};

void page_method_write(FILE *out)
{
    fprintf(
        out,
        "<h2 id=\"method\">Method notes</h2>\n"
        "<p>The unit of sampling is a text: steps of one stream depend on one another and are never taken for "
        "independent "
        "samples; excerpts and seeds of one text are averaged first. Intervals of means are bootstrap-t intervals over "
        "texts, at least as wide as Student's; those of the growth law are expanded percentiles of a bootstrap of "
        "texts. "
        "Below %d texts there is no interval and no p-value, and nothing is claimed.</p>\n"
        "<div class=\"table\" id=\"table-method\"><p class=\"caption\"><strong>Coverage.</strong> How often (in %%) an "
        "interval of nominal 95 %% holds the true value, in simulations with steps that depend on one another (AR(1) "
        "with "
        "0.5) and texts that differ: 4,000 samples for a mean, 1,000 for a growth law. At 4 texts no interval is "
        "printed. The last row is a share of false alarms.</p>\n"
        "<div class=\"wide\"><table>\n<thead><tr><th class=\"text\">of</th><th>6 texts</th><th>8</th><th>12</th>"
        "<th>16</th></tr></thead>\n<tbody>\n",
        ESTIMATE_MIN_TEXTS);
    for (size_t i = 0; i < sizeof coverages / sizeof coverages[0]; i++) {
        fprintf(out, "<tr><td class=\"text\">%s</td>", coverages[i].what);
        for (int k = 0; k < N_COUNTS; k++)
            fprintf(out, "<td>%s</td>", coverages[i].counts[k][0] ? coverages[i].counts[k] : "–");
        fputs("</tr>\n", out);
    }
    fputs("</tbody></table></div></div>\n", out);
}
