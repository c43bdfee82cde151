"""The words that `facts` knows: plain words, numbers, units, negations. Lower case, without apostrophes' variants."""


def _words(told: str) -> frozenset[str]:
    return frozenset(told.split())


# Words that say nothing by a capital letter, as at the start of a sentence: the most frequent ones there, in public preference
# data, that are in lower case elsewhere. A name that is also such a word (Will, Mark) is seen by the name that replaces it.
COMMON = _words(
    """
    a abandoned ability about absolutely access accommodation according accordingly active activities actually add adding additional
    additionally address adjust advanced adversity after again against agent aim air all allow almost along alright also alternative
    alternatively altogether always am an analysis analyze and another answer any anybody anyone anything anyway apart app apparently
    application applications apply applying are area argument arguments arrange arrival arrive artificial as aside ask assess assign
    assistant assuming at attach attack attend attention automated average avoid avoiding awesome back background bad bake balancing based
    basic be beat because before begin being below benefits besides best better between beyond both break breaking bring brush build
    building business but buy by calculate call can carefully cash cause celebrate certainly change changes chapter character check cheers
    children choose claim classify clean clear clearly click close coding cognitive collaborate collaboration collaborative collect
    combine come common communication community companies compare complexity compose compute computer concept conclusion conduct
    confidence congratulations connect cons consequently consider consistency consistent construct construction content context continue
    continuous continuously control convert cook cool copy cost could cover crack create creating creative cross cultural curious
    currently customer customers cut data database date day dear decide deep definitely definition depending deploy describe description
    design despite determine develop developing did different difficulty digital directions divide do document does draft drain draw dress
    drink drive drop dry due during dynamic each early eat eating economic edit education either electric email embrace employees
    encourage end energetic energy engage enjoy ensure ensuring environmental episode error essentially establish establishing estimate
    ethical evaluate eventually every everyone evolution exactly example examples excellent exercise experience experiment explain
    explanation explore exploring external fade family feel feeling female few fill final finally financial find finish firstly flowers
    focus fold follow following food for form fortunately from furthermore game garnish gather generally generate gently get getting gift
    give given glad go going gone good got governments gradually great group happy has have having he head health heat hello help hence
    her hey hi higher highly his historical hold home honestly hope hopefully host how however huh human humans hypothesis i identify if
    image imagine impact implement implementing importantly improve improved improving in include incorporate increase increased
    increasing indeed individual individuals industrial infrastructure innovation innovative input inside install instead instructions
    interactive interesting interestingly introduce investors is it its job join just justification keep keeping keywords kids knead
    knowing knowledge known lack language large lastly later lead learn learning leave legal less let level leverage life light like
    likewise limit limited line list listen lists living local location long look looking loud love lower machine main maintain major make
    making male man many market marketing marriage mass materials may maybe me meanwhile measure men mental mention message mindfulness
    mix mobile modern money monitor more moreover most mostly move much multiply multiplying music musical my namely natural neither
    network networking never nevertheless next nice no nobody none nonetheless not notably note nothing now number o objectives obviously
    of offer offering often ok okay old on once online only open option options or order organize original originally other others
    otherwise our out outline output over overall overview pack paper parameter paraphrase part participate particularly pay peel people
    perform perhaps person personal pet phone physical pick place plan play players please plus poisoning political poor popular possible
    possibly post potential power practice practicing predict predictive preheat prepare preparing press presumably print prior prioritize
    probably problem process production professional programming project projects promote proper provide providing psychological public
    pull purchase purpose push put putting quality question rather read reading real really recycle reduce reducing reflect regarding
    register regular regularly related remember remote remove repeat repeating replace reply research resource rest result retrieved
    return review reward rewrite risk role roll rub run sadly safety same save say scene schedule science score search section security
    see seek seeking select self send sentence serial serve set sets setting several share she short should show similarly simmer simply
    since skills sleep sleeping slice slow slowly small smart smoke smooth so social soft software solution solve some someone something
    sometimes sorry sort sounds space speak special specifically spend spread sprinkle stand start starting state statement statistical
    stay staying step steps stick still stir stop store strain stress string strong student students studies stuff subject such suddenly
    suggest summarise summarize summary support sure surprisingly sustainability symmetric system take taking talk tasks teach teacher
    team technical technological technology tell temperature test thank thanks that the their theme then theory there therefore these they
    things think thirdly this those though through throughout thus time tips to today together tomorrow tonight total track training
    transfer translate transportation travel treat try turn type typically ultimately under understand understanding unfortunately unlike
    until update upgrade upon usage use user users using usually utilize utilizing value verb very video virtual visit visual wait warm
    was wash waste watch water we web website week welcome well were what whatever whats when whenever where whereas wherever whether
    which while who why will with within without woman women work working would wrap writing yeah yep yes yesterday yet you your
    al algunas algunos aquí así aunque como con cuando cuál cuáles de del desde después donde el ella ellos en entonces es esta este
    esto está estos hay la las lo los me mi muchas muchos más nos nosotros o otra otro para pero por porque primero puede pueden pues
    que quizás qué se si sin sobre son su sus también te todas todos tu un una usted y ya yo él
    au aussi aux avec bien ce ces cette ceux chaque comme dans des donc du elle elles en est et il ils je la le les leur lorsque
    mais nous on ou où par pour pourquoi puis quand que qui quoi sa se ses si son sur un une votre vous à
    aber als am an auch auf aus bei da dann das dass dem den der des die dies diese dieser dieses doch du durch ein eine einem einen
    einer er es für hier ich ihr im in ist kann können man mit nach noch nun oder schon sein sich sie sind so und uns viele von vor
    wann warum was weil wenn wer wie wir wo zu zum zur über
    """
) | _words(
    # What an answer or a question may open or end with and say no more or less: greetings, thanks, consent, requests.
    """
    acknowledged affirmative afternoon agreed ah aha alas apologies appreciate appreciated bravo brilliant bye certainly congrats curious
    evening excuse fantastic farewell fascinating forgive fun goodbye goodness gosh gotcha greetings guys ha haha heh hiya hmm howdy hooray
    incredible interested kindly lovely morning noted oh oof oops ooh pardon perfect phew pleasure quick regards roger sincerely
    splendid superb terrific thx totally ugh uh um understood whoa wonderful wow yay yikes yo yup
    adiós ah amigo amigos ay ayuda ayúdame bienvenida bienvenido buen buena buenas bueno buenos cierto ciertamente claro comprendo correcto
    crea dame describe desde dime disculpa disculpe efectivamente encantada encantado entendido escribe escríbeme estimada estimado estoy
    estupendo exacto excelente explica explícame explique favor feliz genera genial gracias haz hola interesante luego mira naturalmente
    necesito oiga oye perdón perdona perdone perfecto podría podrías puedo querida querido quiero quisiera quiero resume saludos seguro
    siento supuesto tardes tengo traduce vale vaya veamos
    absolument accord ah aidez alors ben bienvenue bonjour bonsoir bravo bref certainement certes cher chère chers coucou dis dites donne
    donnez décrivez désolé désolée eh enchanté entendu excellent excellente excusez expliquez explique faites fais génial hélas
    j'aimerais j'ai madame merci monsieur naturellement oh parfait peux pouvez pourrais pourriez quelle quel quels quelles remercie
    résumez salut super sûr s'il tiens traduisez volontiers voici voilà voudrais écris écrivez évidemment
    absolut ach alles ausgezeichnet beschreibe bitte brauche danke dank entschuldige entschuldigung erkläre erklären erklär fasse freilich
    freut geehrte geehrter genau gern gerne gewiss gib grüezi grüß gute guten guter hallo herzlich hilf jawohl kannst klar könnte könntest
    könnten leider lieber liebe liebes moin möchte natürlich nenne perfekt prima sag sage schreib schreibe schreiben schön sehr
    selbstverständlich servus sicher sicherlich super toll tschüss verstanden verzeihung vielen wunderbar zeig zeige übersetze
    aqui boa bom certeza certo certamente claro com desculpe está ecco favore grazie buongiorno buonasera ciao naturalmente obrigada
    obrigado olá oi ottimo perfeito perfetto poderia prego preciso puoi quero salve scusa scusi sim tudo volentieri vorrei ótimo
    """
)

_UNITS = {
    "km": "kilometer kilometers kilometre kilometres kilómetro kilómetros kilomètre kilomètres",
    "m": "meter meters metre metres metro metros mètre mètres",
    "cm": "centimeter centimeters centimetre centimetres", "mm": "millimeter millimeters millimetre millimetres", "nm": "",
    "mi": "mile miles milla millas", "ft": "foot feet", "yd": "yard yards", "inch": "inches", "kg": "kilogram kilograms kilo kilos",
    "g": "gram grams gramm gramos grammes", "mg": "milligram milligrams", "lb": "lbs pound pounds", "oz": "ounce ounces",
    "t": "ton tons tonne tonnes",
    "l": "liter liters litre litres litros", "ml": "milliliter milliliters millilitre millilitres", "gal": "gallon gallons",
    "cup": "cups", "tbsp": "tablespoon tablespoons", "tsp": "teaspoon teaspoons",
    "s": "sec secs second seconds sekunden segundo segundos secondes", "ms": "millisecond milliseconds",
    "min": "mins minute minutes minuto minutos minuten", "h": "hr hrs hour hours hora horas heure heures stunde stunden",
    "day": "days día días jour jours tag tage tagen", "week": "weeks semana semanas semaine semaines woche wochen",
    "month": "months mes meses mois monat monate monaten", "year": "years yr yrs año años an ans année années jahr jahre jahren",
    "decade": "decades", "century": "centuries", "hz": "", "khz": "", "mhz": "", "ghz": "", "w": "watt watts", "kw": "", "kwh": "",
    "mw": "", "v": "volt volts",
    "j": "joule joules", "kj": "", "cal": "calories", "kcal": "", "kb": "", "mb": "", "gb": "", "tb": "", "mph": "", "kmh": "",
    "px": "pixel pixels",
    "rem": "", "em": "", "c": "celsius", "f": "fahrenheit", "k": "kelvin", "am": "", "pm": "", "bc": "bce", "ad": "ce",
    "dollar": "dollars usd", "euro": "euros eur", "cent": "cents",
}  # fmt: skip
# What counts where it follows a number: each spelling to one.
UNITS = {spelling: unit for unit, others in _UNITS.items() for spelling in [unit, *others.split()]}

PERCENT = frozenset(["percent", "percents", "prozent", "procent"])

_SMALL = {
    "en": "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen",
    "es": "cero - dos tres cuatro cinco seis siete ocho nueve diez - doce trece catorce quince dieciséis diecisiete dieciocho diecinueve",
    "fr": "zéro - deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize",
    "de": "null - zwei drei vier fünf sechs sieben acht neun zehn - zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn",
    "zh": "〇 - 二 三 四 五 六 七 八 九 十",  # noqa: RUF001
}
_TENS = {
    "en": "twenty thirty forty fifty sixty seventy eighty ninety",
    "es": "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa",
    "fr": "vingt trente quarante cinquante soixante",
    "de": "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig",
}
# Left out (-): articles, and words such as the Spanish once and the German elf, which mean other things in English.
NUMBERS = {
    **{word: n for words in _SMALL.values() for n, word in enumerate(words.split()) if word != "-"},
    **{word: 10 * n for words in _TENS.values() for n, word in enumerate(words.split(), 2)},
    "零": 0, "两": 2, "百": 100, "千": 1_000, "万": 10_000, "亿": 100_000_000,
    "hundred": 100, "hundreds": 100, "cien": 100, "ciento": 100, "hundert": 100,
    "thousand": 1_000, "thousands": 1_000, "mil": 1_000, "mille": 1_000, "tausend": 1_000,
    "dozen": 12, "million": 10**6, "millions": 10**6, "millón": 10**6, "millones": 10**6, "millionen": 10**6,
    "billion": 10**9, "billions": 10**9, "milliarde": 10**9, "milliarden": 10**9, "milliards": 10**9,
    "trillion": 10**12, "trillions": 10**12,
}  # fmt: skip
# The same number may be said of a place in a row; that is another fact.
_ORDINALS = """
    first primero primera erste ersten premier première
    second segundo segunda zweite zweiten deuxième
    third tercero tercera dritte troisième
    fourth cuarto cuarta vierte
    fifth quinto quinta fünfte
    sixth sexto sechste
    seventh siebte
    eighth octavo achte
    ninth noveno neunte
    tenth décimo zehnte
    eleventh
    twelfth
"""
ORDINALS = {word: f"{n}th" for n, line in enumerate(_ORDINALS.strip().splitlines(), 1) for word in line.split()}
FRACTIONS = {"half": "1/2", "halves": "1/2", "quarter": "1/4", "quarters": "1/4", "twice": "2x", "double": "2x", "triple": "3x"}

# Named by a capital in English alone.
CALENDAR = _words(
    """
    monday tuesday wednesday thursday friday saturday sunday january february april june july august september october november december
    lunes martes miércoles jueves viernes sábado domingo
    enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
    lundi mardi mercredi jeudi vendredi samedi dimanche janvier février mars avril mai juin juillet août septembre octobre novembre décembre
    """
)

NEGATIONS = _words(
    """
    not no never none nobody nothing nowhere neither nor without cannot cant dont wont doesnt didnt isnt arent wasnt werent hasnt havent
    hadnt wouldnt couldnt shouldnt mustnt neednt mightnt aint nope nah non hardly barely scarcely
    nunca jamás nadie nada ningún ninguno ninguna sin tampoco ni pas jamais sans rien aucun aucune
    nicht nichts nie niemals niemand kein keine keinen keinem keiner keines ohne weder não nem sem nenhum nenhuma mai senza niet geen zonder
    не нет без никогда ни 不 没 沒 无 無 非 未 别 勿 否 안 않 못 없다 없는 없이 아니다 아닌
    """
)

# Beginnings that turn a word into its opposite: legal, illegal.
PREFIXES = ("un", "in", "im", "il", "ir", "dis", "non")
