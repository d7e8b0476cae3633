"""What can be counted in a response: words, sentences, headings, tables, nesting, attributes. Imports no torch."""

import re
from collections.abc import Sequence

from critica.environments.json_find import find_object

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
HEADING = re.compile(r"^(#{1,6})[ \t]+\S", re.MULTILINE)
RULE_LINE = re.compile(r"^\|?[\s:|-]*-[\s:|-]*\|?$")
TAG = re.compile(r"<([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*/?>")
ATTRIBUTE = re.compile(r"[\w.:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*')")
# Characters of one script that the other writes differently: pairs simplified, traditional.
PAIRS = (
    "们們 这這 国國 说說 时時 会會 来來 为為 个個 对對 学學 过過 还還 发發 经經 现現 间間 问問 关關 样樣 "
    "开開 长長 见見 东東 车車 书書 话話 语語 门門 马馬 鱼魚 鸟鳥 龙龍 风風 飞飛 电電 云雲 气氣 爱愛 乐樂 "
    "写寫 让讓 认認 识識 读讀 请請 谢謝 应應 实實 两兩 么麼 没沒 头頭 义義 习習 乡鄉 买買 卖賣 亲親 众眾 "
    "优優 传傳 伤傷 儿兒 党黨 兴興 军軍 农農 决決 况況 冻凍 净淨 减減 几幾 击擊 划劃 刘劉 则則 创創 别別 "
    "办辦 务務 动動 劳勞 势勢 区區 医醫 华華 单單 卫衛 压壓 厂廠 历歷 变變 叶葉 号號 听聽 员員 响響 园園 "
    "图圖 团團 场場 坏壞 块塊 坚堅 声聲 处處 备備 复復 够夠 妈媽 孙孫 宝寶 宁寧 审審 宽寬 导導 层層 岁歲 "
    "岛島 币幣 师師 帮幫 广廣 庆慶 库庫 张張 强強 归歸 当當 录錄 总總 战戰 户戶 护護 报報 择擇 换換 据據 "
    "数數 斗鬥 断斷 无無 旧舊 显顯 术術 机機 杂雜 权權 条條 极極 标標 树樹 桥橋 欢歡 残殘 毕畢 汉漢 汤湯 "
    "济濟 浅淺 测測 湾灣 满滿 灭滅 灯燈 灵靈 点點 热熱 爷爺 状狀 独獨 环環 画畫 疗療 盐鹽 监監 盖蓋 盘盤 "
    "码碼 确確 礼禮 离離 种種 积積 称稱 稳穩 穷窮 竞競 笔筆 简簡 类類 粮糧 紧緊 红紅 纪紀 级級 纸紙 线線 "
    "组組 织織 终終 结結 绝絕 给給 统統 继繼 续續 维維 绿綠 网網 罗羅 罚罰 职職 联聯 肃肅 胜勝 脑腦 艺藝 "
    "节節 药藥 获獲 虽雖 补補 观觀 规規 视視 觉覺 览覽 计計 订訂 讨討 训訓 议議 记記 讲講 许許 论論 设設 "
    "访訪 证證 评評 词詞 试試 诗詩 该該 详詳 误誤 课課 谁誰 调調 谈談 负負 财財 责責 败敗 货貨 质質 贵貴 "
    "费費 资資 赛賽 赶趕 转轉 轮輪 软軟 轻輕 较較 输輸 边邊 达達 迁遷 运運 进進 远遠 连連 选選 适適 邮郵 "
    "释釋 里裡 钟鐘 钢鋼 钱錢 铁鐵 银銀 错錯 镇鎮 闻聞 阳陽 阴陰 阵陣 阶階 际際 陆陸 难難 页頁 顶頂 项項 "
    "须須 顾顧 领領 频頻 题題 颜顏 额額 饭飯 饮飲 馆館 驾駕 验驗 鲜鮮 齐齊"
)
SIMPLIFIED = frozenset(pair[0] for pair in PAIRS.split())
TRADITIONAL = frozenset(pair[1] for pair in PAIRS.split())


def words(text: str) -> list[str]:
    """Runs without white space that hold a letter or digit; each Chinese character is a word."""
    return [found for found in re.findall(f"[{HAN}]|[^\\s{HAN}]+", text) if any(map(str.isalnum, found))]


def sentences(text: str) -> int:
    """Parts that end in . ! ? 。！？ before white space or the end; a last one without a mark counts."""
    parts = re.split(r"(?<=[.!?])[\"')\]*_]*(?=\s|\Z)|[。！？]+", text)
    return sum(any(map(str.isalnum, part)) for part in parts)


def paragraphs(text: str) -> int:
    """Blocks between empty lines."""
    return sum(bool(block.strip()) for block in re.split(r"\n[ \t]*\n", text))


def han_share(text: str) -> float:
    """Chinese characters among letters, a Latin word counting as one; 0 without either."""
    han = len(re.findall(f"[{HAN}]", text))
    latin = len(re.findall(r"[A-Za-z]+", text))
    return han / (han + latin) if han + latin else 0.0


def latin_share(text: str) -> float:
    """ASCII letters among all letters; 0 without letters."""
    letters = [character for character in text if character.isalpha()]
    return sum(letter.isascii() for letter in letters) / len(letters) if letters else 0.0


def heading_levels(text: str) -> list[int]:
    """The level of each Markdown heading, in order."""
    return [len(found[1]) for found in HEADING.finditer(text)]


def tables(text: str) -> list[tuple[int, int]]:
    """(rows without the head, columns) of each Markdown table: lines with | around a line of dashes."""
    lines = [line.strip() for line in text.split("\n")]
    found, at = [], 1
    while at < len(lines):
        if "|" in lines[at - 1] and "|" in lines[at] and RULE_LINE.match(lines[at]):
            end = at + 1
            while end < len(lines) and "|" in lines[end]:
                end += 1
            found.append((end - at - 1, len(lines[at - 1].strip("|").split("|"))))
            at = end
        at += 1
    return found


def json_depth(text: str) -> int | None:
    """How deeply objects are nested in the first JSON object; None without one."""
    found = find_object(text)
    return None if found is None else _depth(found)


def _depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return max(map(_depth, value), default=0) if isinstance(value, list) else 0


def attributes(text: str) -> Sequence[int] | None:
    """The number of attributes of each XML element, in order; None without an element."""
    return [len(ATTRIBUTE.findall(found[2])) for found in TAG.finditer(text)] or None
