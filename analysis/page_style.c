#include "analysis/page_style.h"

#include "analysis/output.h"

static const char style[] =
    "body{font:16px/1.5 system-ui,-apple-system,'Segoe UI',sans-serif;color:#1a1a1a;background:#fff;max-width:62rem;"
    "margin:0 auto;padding:1rem;counter-reset:figure table}\n"
    "h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}h2{font-size:1.25rem;margin:2.2rem 0 .5rem;border-bottom:1px "
    "solid "
    "#ccc}h3{font-size:1.05rem;margin:1.6rem 0 .4rem}\n"
    "p,li,dd{overflow-wrap:anywhere}ul{padding-left:1.3rem;margin:.4rem 0}li{margin:.15rem 0}li.next{margin-top:.6rem}a{color:#0b5394}\n"
    "nav{font-size:.9rem;background:#f6f7f8;padding:.5rem 1rem;margin:1rem 0}nav "
    "ul{columns:2;column-gap:2rem;list-style:"
    "none;padding:0}nav li{break-inside:avoid}\n"
    "figure{margin:1.8rem "
    "0;counter-increment:figure}figcaption,.caption,.files{font-size:.85rem;color:#444;margin:.4rem "
    "0}.files{white-space:nowrap}\n"
    "figcaption strong::before{content:'Figure ' counter(figure) '. '}.table{counter-increment:table;margin:1.4rem 0}"
    ".table strong::before{content:'Table ' counter(table) '. '}\n"
    ".wide{overflow-x:auto}figure .wide{max-width:calc(var(--pt)*1.9px)}figure "
    "svg{width:100%;min-width:34rem;height:auto;display:block}figure "
    "svg.half{min-width:20rem}"
    "figure svg image{image-rendering:pixelated}\n"
    "table{border-collapse:collapse;font-size:.8rem;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.2rem .5rem;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}\n"
    "th{white-space:normal;vertical-align:bottom;border-bottom:1px solid #888}td.text,th.text{text-align:left}\n"
    "summary{cursor:pointer}\n"
    ".warnings{border-left:4px solid #b35900;background:#fff6ec;padding:.3rem 1rem;margin:1rem 0}.warnings h2{border:0;"
    "margin:.3rem 0}\n"
    ".beside{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,30rem),1fr));gap:0 1.5rem}.beside figure svg{min-width:28rem}\n"
    "dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem "
    "1rem;font-size:.85rem}dt{color:#555}dd{margin:0}\n"
    "@media(max-width:40rem){body{padding:.6rem}nav ul{columns:1}dl{grid-template-columns:1fr}dd{margin:0 0 .4rem 0}}\n"
    "@media print{body{max-width:none;font-size:10pt;padding:0}nav,.files{display:none}figure "
    ".wide{max-width:calc(var(--pt)*1pt)}.wide{"
    "overflow:visible}figure,tr,.warnings{break-inside:avoid}figure svg,figure svg.half{min-width:0}"
    "table{font-size:6pt;width:100%}th,td{padding:1pt 2pt;white-space:normal}"
    "td.text{overflow-wrap:break-word}.broad{page:broad}h2,h3,.caption{break-after:avoid}a{color:inherit;text-"
    "decoration:none}"
    "@page{size:A4;margin:14mm}@page broad{size:A4 landscape}}\n";

void page_begin(FILE *out, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
          out);
    output_html(out, title);
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<h1>", style);
    output_html(out, title);
    fputs("</h1>\n", out);
}

void page_end(FILE *out)
{
    fputs("</body>\n</html>\n", out);
}
