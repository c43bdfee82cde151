"""The report's only style sheet: light and dark, wide and narrow, screen and paper. It names no font and no file to fetch."""

STYLE = """
:root{color-scheme:light dark;--bg:#f5f6f8;--card:#fff;--ink:#1b2530;--soft:#55616e;--line:#dde2e8;--faint:#eef1f4;--link:#0b5cad;
--published:#1f7a5c;--merged:#4f7cac;--dropped:#c2641b;--quarantined:#a8323e;--trunk:#8a97a6;--ins:#d8f0e2;--ins-line:#1f7a5c;
--del:#fbe3d3;--del-line:#b4530f}
@media (prefers-color-scheme:dark){:root{--bg:#12171d;--card:#1a2129;--ink:#e4e9ee;--soft:#a3afbb;--line:#323c47;--faint:#232c35;
--link:#7db7f5;
--published:#4fbf95;--merged:#7da9d8;--dropped:#e8934f;--quarantined:#e57a85;--trunk:#77858f;--ins:#16402f;--ins-line:#4fbf95;
--del:#4a2a14;--del-line:#e8934f}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{font:1rem/1.55 system-ui,-apple-system,"Segoe UI",sans-serif;color:var(--ink);background:var(--bg);margin:0;overflow-wrap:anywhere}
a{color:var(--link)}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:0;top:0;background:var(--card);padding:.6rem 1rem;z-index:1}
header,main,footer{max-width:1080px;margin:0 auto;padding:0 1.25rem}
header{padding-top:2.2rem}
h1{font-size:1.9rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.35rem;margin:3rem 0 .5rem;padding-bottom:.3rem;border-bottom:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.8rem 0 .5rem;overflow-wrap:anywhere}
.small h3{font-size:.95rem;margin:0 0 .3rem}
.sub,.note,.none{color:var(--soft)}
.note{font-size:.9rem;margin:.4rem 0 1rem;max-width:46rem;overflow-wrap:anywhere}
p{max-width:46rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.7rem;margin:1.2rem 0;padding:0}
.tiles div{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.7rem .9rem}
.tiles dt{color:var(--soft);font-size:.88rem}
.tiles dd{margin:0;font-size:1.5rem;font-weight:650;font-variant-numeric:tabular-nums}
.tiles div{display:flex;flex-direction:column-reverse;justify-content:flex-end}
nav ul{display:flex;flex-wrap:wrap;gap:.25rem 1.2rem;list-style:none;padding:0;margin:.8rem 0 0}
nav a{display:inline-block;padding:.2rem 0}
.found{padding-left:1.2rem;max-width:46rem}
.found li{margin:.25rem 0}
.scroll{position:relative;background:var(--card);
border:1px solid var(--line);border-radius:8px;overflow-x:auto;max-width:100%;margin:.6rem 0}
table{border-collapse:collapse;width:100%;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);padding:.55rem .8rem .2rem;font-size:.88rem}
th,td{padding:.38rem .8rem;text-align:left;border-bottom:1px solid var(--faint);vertical-align:top;max-width:24rem;min-width:3rem}
td,tbody th{overflow-wrap:break-word;unicode-bidi:plaintext}
thead th{color:var(--soft);font-size:.82rem;font-weight:600;vertical-align:bottom;overflow-wrap:normal;white-space:normal}
tbody th{font-weight:600;min-width:7rem}
tbody tr:last-child>*{border-bottom:0}
.n{text-align:right;white-space:nowrap}
.t{min-width:15rem}
tbody th.n{min-width:3rem}
figure{position:relative;margin:.8rem 0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.8rem}
figure .wide{overflow-x:auto}
figcaption{font-size:.9rem;color:var(--soft);margin-top:.4rem;max-width:46rem}
figure svg{display:block;max-width:100%;height:auto}
.wide svg{min-width:760px}
.keys{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;list-style:none;margin:.2rem 0;padding:0;font-size:.88rem;color:var(--soft)}
.keys li::before{content:"";display:inline-block;width:.8rem;height:.8rem;border-radius:2px;margin-right:.4rem;vertical-align:-.08rem;
background:var(--key)}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(255px,1fr));gap:.7rem;margin:.8rem 0}
.small figure{margin:0}
svg text{fill:var(--ink);font:12.5px system-ui,sans-serif;paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}
svg text.soft,svg .role-axis-label text,svg .role-axis-title text{fill:var(--soft)}
svg .role-axis-grid line{stroke:var(--faint)}
svg .role-axis-domain line,svg .role-axis-tick line{stroke:var(--line)}
details{border:1px solid var(--line);border-radius:8px;background:var(--card);margin:.6rem 0;padding:0 .9rem}
summary{cursor:pointer;padding:.55rem 0;font-weight:600;overflow-wrap:anywhere}
details[open]>summary{border-bottom:1px solid var(--faint);margin-bottom:.5rem}
details .scroll{border:0;border-radius:0;margin:.4rem 0}
article{border-top:1px solid var(--line);padding:.9rem 0}
article:first-of-type{border-top:0}
article p.about{color:var(--soft);font-size:.88rem;margin:0 0 .6rem;max-width:none;overflow-wrap:anywhere}
.sides{display:grid;grid-template-columns:1fr 1fr;gap:.8rem;margin:.5rem 0}
.text{background:var(--faint);border-radius:6px;padding:.6rem .75rem;min-width:0}
.text strong{display:block;font-size:.8rem;color:var(--soft);margin:0 0 .25rem;font-weight:600}
.text p{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font-size:.93rem;max-width:none;unicode-bidi:plaintext}
mark{position:relative;color:inherit;border-radius:2px;padding:0 .06em;-webkit-box-decoration-break:clone;box-decoration-break:clone}
mark.ins{background:var(--ins);text-decoration:underline 2px var(--ins-line)}
mark.del{background:var(--del);text-decoration:underline 2px dotted var(--del-line)}
.gap{color:var(--soft);font-style:italic}
.skip:not(:focus),details caption,mark::before,mark::after{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}
mark::before{content:" [only here: "}
mark::after{content:"] "}
footer{color:var(--soft);font-size:.88rem;padding-top:2rem;padding-bottom:3rem}
@media (max-width:640px){h1{font-size:1.5rem}header,main,footer{padding-left:.9rem;padding-right:.9rem}.sides{grid-template-columns:1fr}
figure{padding:.5rem}.tiles{grid-template-columns:repeat(2,1fr)}th,td{padding:.35rem .55rem}nav a{padding:.3rem 0}}
@media print{:root{color-scheme:light;--bg:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--faint:#eee;--link:#000;
--published:#1f7a5c;--merged:#4f7cac;--dropped:#c2641b;--quarantined:#a8323e;--trunk:#8a97a6;--ins:#d8f0e2;--ins-line:#1f7a5c;
--del:#fbe3d3;--del-line:#b4530f}
body{font-size:9.5pt;print-color-adjust:exact;-webkit-print-color-adjust:exact}header,main,footer{max-width:none;padding-left:0;
padding-right:0}
nav,.skip{display:none}h2,h3,summary,caption{break-after:avoid}figure,tr,.text{break-inside:avoid}.scroll,figure .wide{overflow:visible}
.wide svg{min-width:0;width:100%}table,caption,thead th{font-size:7pt!important}
th,td{padding:.15rem .3rem;min-width:0!important;white-space:normal!important;overflow-wrap:anywhere!important}
thead{display:table-header-group}
details::details-content{content-visibility:visible;block-size:auto;display:block}details:not([open])>*{display:block}}
"""
