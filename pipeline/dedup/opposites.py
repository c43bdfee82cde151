"""Words that say the opposite of each other, with their forms, for `facts`: English, and the basics of Spanish, French and German.

One opposition a line; each side may be said in several words. Only two texts that differ by both sides of a line are told
apart by it, so a form that is no word, or is one in another language, does no harm.
"""

from collections.abc import Callable

Forms = Callable[[str], list[str]]

_WORDS = """
    true correct accurate right correctly - false incorrect inaccurate wrong incorrectly wrongly
    left - right
    yes yeah yep yup - no nope nah non
    always - never sometimes
    all every everyone everybody everything - some any few someone somebody something
    all every everyone everybody everything both - none nobody nothing neither
    more greater larger bigger higher plus - less fewer smaller lower minus
    most maximum max highest largest biggest greatest - least minimum min lowest smallest fewest
    maximal - minimal
    many much - few little
    up upward upwards upper rise rises rose risen rising uphill upstairs upstream - down downward downwards falls fell fallen falling fall
    uphill upstairs upstream - downhill downstairs downstream
    before earlier prior - after later afterwards
    early first former soon sooner earlier earliest soonest - late last latter later latest
    above over higher overhead - below under beneath lower underneath
    inside indoors indoor inner internal within - outside outdoors outdoor outer external
    in into - out
    on onto - off
    and - or
    to - from
    if - unless
    since - until
    here - there
    better - worse
    best - worst
    well - badly poorly
    odd - even
    ascending - descending
    north northern - south southern
    east eastern - west western
    he him his himself - she her hers herself
    man men male boy boys - woman women female girl girls
    father dad son sons brother brothers husband king uncle - mother mom mum daughter daughters sister sisters wife queen aunt
    parent parents - child children
    teacher teachers - student students
    employer employers - employee employees
    landlord landlords lender lenders - tenant tenants borrower borrowers
    sender senders - receiver receivers recipient recipients
    buyer buyers - seller sellers
    friend friends ally allies - enemy enemies
    public - private
    day days morning daytime - night nights evening nighttime
    dawn sunrise - dusk sunset
    yesterday - tomorrow
    alive life living birth - dead death dying
    success succeeded successful successfully - failure failed unsuccessful unsuccessfully
    strength strengths - weakness weaknesses
    positive positively benefit benefits advantage advantages pros pro - negative negatively harm harms disadvantage disadvantages cons con
    profit profits gain gains - loss losses
    victory - defeat
    asset assets credit - liability liabilities debit
    income - expense expenses
    supply - demand
    cause causes - effect effects
    entrance arrival - exit departure
    summer spring - winter autumn
    often frequently usually commonly - rarely seldom infrequently
    must required mandatory compulsory - optional may
    with - without
    future next following - past previous
    horizontal horizontally - vertical vertically
    input inputs - output outputs
    front - back rear
    top - bottom
    hit hits - miss misses
    forward forwards - backward backwards
    clockwise - anticlockwise counterclockwise
    beginning - ending end
    majority - minority
    singular - plural
    same identical similar - different
    together - apart separately
    war - peace
    ancient - modern
    hombre hombres niño niños - mujer mujeres niña niñas
    padre padres hijo hijos hermano hermanos - madre madres hija hijas hermana hermanas
    rechts - links
"""

# English: slow, slower, slowest, slowly.
_ADJECTIVES = """
    fast quick rapid swift - slow sluggish
    big large huge great giant enormous - small little tiny
    high tall - low short
    long lengthy - short brief
    strong powerful - weak feeble
    easy simple - hard difficult tough complex complicated tricky
    hard firm - soft
    safe - dangerous risky unsafe hazardous
    good - bad poor evil
    hot warm - cold cool chilly
    rich wealthy - poor
    young new fresh - old stale
    light bright pale - dark dim
    heavy - light
    thick fat - thin slim lean
    wide broad thick - narrow thin
    deep - shallow
    full - empty
    wet damp moist humid - dry
    cheap inexpensive affordable - expensive costly dear pricey
    loud noisy - quiet silent
    near close - far distant
    tight - loose
    clean - dirty
    sharp - blunt dull
    rough coarse - smooth fine
    sweet - sour bitter
    happy glad cheerful - sad unhappy gloomy
    kind nice gentle - cruel mean harsh
    smart clever intelligent wise - stupid dumb foolish
    rare - common frequent
    beautiful pretty - ugly
    healthy - sick ill
    guilty - innocent
    raw - cooked
    dense - sparse
    steep - flat
    straight - curved crooked bent
    tidy neat - messy
    polite - rude
    permanent - temporary
    modern - traditional
    natural - artificial
    urban - rural
    domestic - foreign
    major senior superior - minor junior inferior
    optimistic - pessimistic
    concave - convex
    present - absent
    active - passive
    open - closed shut
    awake - asleep
    single - married
    brave bold - timid shy
    local - global
"""
# Irregular forms stand here too, and get endings that match nothing.
_VERBS = """
    increase raise rise rose risen grow grew grown expand - decrease reduce decline drop fall fell fallen shrink shrank lower diminish
    start begin began begun open - stop end finish close shut
    win won - lose lost
    find found - lose lost
    buy bought - sell sold
    import - export
    enable allow permit activate - disable forbid prohibit ban deny deactivate prevent
    accept approve - reject refuse decline
    include - exclude
    add - remove subtract delete
    multiply - divide
    push - pull
    love like - hate dislike
    strengthen - weaken
    encourage - discourage
    improve - worsen
    support - oppose
    attract - repel
    gain - lose lost
    lock - unlock
    connect - disconnect
    appear - disappear
    agree - disagree
    trust - distrust
    heat warm - cool chill
    freeze froze frozen - melt thaw
    maximize maximise - minimize minimise
    send sent - receive
    give gave given - take took taken receive
    bring brought - take took taken
    remember - forget forgot forgotten
    save earn - spend spent
    deposit - withdraw withdrew withdrawn
    borrow - lend lent
    ascend - descend
    accelerate - decelerate
    inhale - exhale
    upload - download
    encrypt - decrypt
    encode - decode
    arrive come came enter - leave left depart go went gone exit
    join - leave left quit
    stay remain - leave left
    tighten - loosen
    widen broaden - narrow
    lengthen extend - shorten
    lighten brighten - darken
    soften - harden
    thicken - thin
    sweeten - sour
    fill - empty drain
    build built create construct - destroy demolish
    attack - defend
    teach taught - learn learnt
    ask - answer
    succeed pass - fail
    live survive - die dying
    sit sat - stand stood
    laugh smile - cry cried frown
    float - sink sank sunk
    hire - fire
    lead led - follow
    praise - criticize criticise blame
    help - hinder harm
    heal cure - hurt injure
    hide hid hidden conceal - reveal show shown
    inflate - deflate
    keep kept - discard
    advance - retreat
    combine merge join - separate split
    simplify - complicate
    overestimate - underestimate
    tie - untie
    confirm - deny
    release free - capture trap
    wake woke woken - sleep slept
    speed hurry - slow
"""

# Spanish: largo, larga, largos, largas; mejor, mejores.
_SPANISH = """
    sí - no
    verdadero cierto correcto - falso incorrecto
    derecho - izquierdo
    siempre - nunca jamás
    todo cada - ninguno nada nadie
    más mayor - menos menor
    máximo - mínimo
    mejor - peor
    bien - mal
    bueno buen - malo
    superior - inferior
    mucho - poco
    arriba encima - abajo debajo
    antes - después
    primero - último
    dentro interior interno - fuera exterior externo
    con - sin
    grande gran enorme - pequeño chico
    alto - bajo
    largo - corto
    rápido - lento
    fuerte - débil
    fácil sencillo simple - difícil complicado complejo
    caliente cálido - frío
    rico - pobre
    joven nuevo - viejo antiguo
    claro luminoso - oscuro
    pesado - ligero
    grueso gordo - delgado fino
    ancho - estrecho
    profundo hondo - superficial
    lleno - vacío
    mojado húmedo - seco
    barato económico - caro
    ruidoso - silencioso tranquilo
    temprano - tarde tardío
    cerca cercano - lejos lejano
    limpio - sucio
    duro - blando suave
    dulce - amargo agrio
    feliz alegre contento - triste
    seguro - peligroso inseguro
    abierto - cerrado
    vivo - muerto
    positivo - negativo
    público - privado
    igual mismo - distinto diferente
    norte - sur
    día - noche
    verano - invierno
    él - ella
"""
# A stem that changes stands as a verb of its own: cerrar, cierra.
_SPANISH_VERBS = """
    subir aumentar crecer - bajar disminuir disminuyer reducir reducer caer
    abrir - cerrar cierrar
    empezar empiezar comenzar comienzar - terminar acabar
    entrar llegar - salir partir
    comprar - vender
    ganar encontrar encuentrar - perder pierder
    encender enciender - apagar
    permitir - prohibir prohíber
    aceptar - rechazar
    incluir incluyer - excluir excluyer
    añadir agregar sumar - quitar eliminar restar
    multiplicar - dividir
    amar - odiar
    recordar recuerdar - olvidar
    dar enviar - recibir
    mejorar - empeorar
"""
# French: grand, grande, grands, grandes; the feminine is named where it is made otherwise.
_FRENCH = """
    oui - non
    vrai - faux fausse
    droit - gauche
    toujours - jamais
    tout tous chaque - aucun rien personne
    plus - moins
    maximum - minimum
    meilleur mieux - pire pis
    bien - mal
    bon bonne - mauvais
    supérieur - inférieur
    beaucoup - peu
    haut - bas basse
    dessus - dessous
    avant - après
    premier première - dernier dernière
    dedans intérieur - dehors extérieur
    avec - sans
    grand gros grosse énorme - petit
    long longue - court
    rapide vite rapidement - lent lentement
    fort - faible
    facile simple - difficile compliqué complexe
    chaud - froid
    riche - pauvre
    jeune nouveau nouvelle neuf neuve - vieux vieille ancien ancienne âgé
    clair lumineux - sombre foncé obscur
    lourd - léger légère
    épais épaisse - mince fin
    large - étroit
    profond - superficiel
    plein - vide
    mouillé humide - sec sèche
    cher chère coûteux - abordable
    bruyant - silencieux calme
    tôt - tard
    proche près - loin lointain
    propre - sale
    dur - mou doux molle douce
    sucré - amer salé
    heureux heureuse content - triste malheureux malheureuse
    sûr - dangereux dangereuse
    ouvert - fermé
    vivant - mort
    positif positive - négatif négative
    public publique - privé
    nord - sud
    jour - nuit
    homme garçon - femme
    père fils frère - mère fille sœur
    il - elle
    monter monte augmenter augmente - descendre descend baisser baisse diminuer diminue réduire réduit
    ouvrir ouvre ouvrez - fermer ferme fermez
    commencer commence - finir finit terminer termine
    entrer entre arriver arrive - sortir sort partir part
    acheter achète - vendre vend
    gagner gagne trouver trouve - perdre perd
    allumer allume - éteindre éteint
    permettre permet permis - interdire interdit
    accepter accepte - refuser refuse
    inclure inclut - exclure exclut
    ajouter ajoute ajoutez - enlever enlève enlevez retirer retire retirez supprimer supprime supprimez
"""
# German: schnell, schneller, schnellste; stems that change stand beside.
_GERMAN = """
    ja - nein
    richtig wahr - falsch
    recht - link
    immer - nie niemals
    alle jede - keine niemand
    mehr - weniger
    maximal - minimal
    viel - wenig
    gut bess best - schlecht
    oben - unten
    vor vorher davor - nach nachher danach
    erst - letzt
    innen drinnen - außen draußen
    mit - ohne
    groß größ riesig - klein winzig
    hoch hoh höh höchst - niedrig tief
    lang läng - kurz kürz
    schnell rasch - langsam
    stark stärk - schwach schwäch
    leicht einfach - schwer schwierig kompliziert
    warm wärm heiß - kalt kält kühl
    reich - arm ärm
    jung jüng neu - alt ält
    hell - dunkel dunkl
    dick - dünn
    breit weit - eng schmal
    tief - flach seicht
    voll - leer
    nass feucht - trocken
    billig günstig preiswert - teuer teur
    laut - leise leis ruhig
    früh - spät
    nah näh nächst - fern weit
    sauber - schmutzig
    hart härt - weich
    süß - bitter sauer saur
    glücklich froh - traurig
    sicher - gefährlich unsicher
    offen geöffnet - geschlossen
    lebendig - tot
    positiv - negativ
    öffentlich - privat
    nord norden - süd süden
    ost osten - west westen
    tag tags - nacht nachts
    morgen morgens - abend abends
    sommer - winter
    mann junge - frau mädchen
    vater sohn bruder - mutter tochter schwester
    öffnen öffne öffnet - schließen schließe schließt
    steigen steigt stieg erhöhen erhöht - fallen fällt fiel sinken sinkt sank senken senkt
    beginnen beginnt begann anfangen - enden endet endete aufhören
    kaufen kauft kaufte - verkaufen verkauft verkaufte
    gewinnen gewinnt gewann - verlieren verliert verlor
    erlauben erlaubt - verbieten verbietet verboten
    kommen kommt kam - gehen geht ging
    hinzufügen - entfernen
"""


def _as_it_is(word: str) -> list[str]:
    return [word]


def _adjective(word: str) -> list[str]:
    """Its degrees and adverb; those of hard, near, new and short are about something else."""
    stem = word.removesuffix("e")
    stem = word.removesuffix("y") + "i" if word.endswith("y") else stem
    doubled = word + word[-1]
    adverb = [stem + "ly", word + "ly", word.removesuffix("le") + "ly"] if word not in ("hard", "near", "short", "new") else []
    return [word, stem + "er", stem + "est", doubled + "er", doubled + "est", *adverb]


def _verb(verb: str) -> list[str]:
    stem = verb.removesuffix("e")
    doubled = verb + verb[-1]
    third = verb.removesuffix("y") + "ies" if verb.endswith("y") else verb
    return [verb, verb + "s", verb + "es", stem + "ed", stem + "ing", doubled + "ed", doubled + "ing", third, third.removesuffix("s") + "d"]


def _spanish(word: str) -> list[str]:
    stem = word.removesuffix("o")
    forms = [stem + ending for ending in ("o", "a", "os", "as", "amente")] if word.endswith("o") else [word, word + "s", word + "es"]
    return [*forms, word + "mente"]


def _spanish_verb(verb: str) -> list[str]:
    a_endings = ("ar", "a", "as", "an", "o", "ó", "é", "aron", "ado", "ada", "ando", "e", "es", "en", "amos", "aba", "aban", "ará", "arán")
    i_endings = ("e", "es", "en", "o", "ió", "í", "ieron", "ido", "ida", "iendo", "a", "as", "an", "emos", "imos", "ía", "ían")
    stem, ending = verb[:-2], verb[-2:]
    return [verb, verb + "á", verb + "án", *(stem + end for end in (a_endings if ending == "ar" else i_endings))]


def _french(word: str) -> list[str]:
    return [word, word + "e", word + "s", word + "es", word.removesuffix("x") + "se", word.removesuffix("x") + "ses"]


def _german(word: str) -> list[str]:
    cases = ("", "e", "er", "es", "en", "em")
    return [word + degree + case for degree in ("", "er", "st", "est") for case in cases]


_LISTS: list[tuple[str, Forms]] = [
    (_WORDS, _as_it_is), (_ADJECTIVES, _adjective), (_VERBS, _verb), (_SPANISH, _spanish), (_SPANISH_VERBS, _spanish_verb),
    (_FRENCH, _french), (_GERMAN, _german),
]  # fmt: skip

_LINES = [(line.split(" - "), forms) for lines, forms in _LISTS for line in lines.strip().splitlines()]

# (word, number of the opposition, side: 1 or -1); a word may be on a side of several.
OPPOSITES = sorted(
    {
        (form, number, side)
        for number, (halves, forms) in enumerate(_LINES)
        for side, half in zip((1, -1), halves, strict=True)
        for word in half.split()
        for form in forms(word)
    }
)
